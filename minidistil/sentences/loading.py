"""`load`: a checkpoint as what it was saved as, whatever that is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from minidistil._float_mode import default_mode
from minidistil.models.auto import class_of
from minidistil.models.base import LoadOptions, divided
from minidistil.sentences.classifier import SentenceClassifier
from minidistil.sentences.cross_encoder import CrossEncoder
from minidistil.sentences.encoder import SentenceEncoder
from minidistil.sentences.files import is_classifier, is_reranker
from minidistil.weights import open_checkpoint
from minidistil.weights.locate import find
from minidistil.weights.options import spelled_out
from minidistil.weights.small_files import is_there

if TYPE_CHECKING:
    from typing_extensions import Unpack


@spelled_out(LoadOptions)
@default_mode()
def load(name_or_path: str | os.PathLike[str], **options: Unpack[LoadOptions]) -> SentenceEncoder | Any:
    """Load a checkpoint as what it was saved as.

    Args:
        name_or_path: a folder, `package:NAME` of an installed package that carries one, or a hub id.
        **options: `LoadOptions`.

    Returns:
        A `CrossEncoder` where sentence-transformers saved one; else a `SentenceEncoder` where modules.json is there, or
        a `SentenceClassifier` where `fit_classifier` wrote it; else the class that config.json names in
        `architectures`, or the bare encoder where minidistil does not have that class. All of them have `.tokenizer`
        and `.config`, and all but cross-encoders `.encode`. (Its type says `| Any`, as it is the file that decides, not
        the code.)

    Raises:
        CheckpointError: files that are missing, damaged or contradict each other; lists every fault.
        ValueError: an unknown option, or a module that minidistil does not have.
    """
    hub, own = divided(options)
    source = find(name_or_path, **hub)
    if is_reranker(source.folder):
        return CrossEncoder(source, **own)
    if is_there(source.folder / "modules.json"):
        kind = SentenceClassifier if is_classifier(source.folder) else SentenceEncoder
        return kind.from_folder(source, **own)
    checkpoint = open_checkpoint(source)
    return class_of(checkpoint).from_checkpoint(checkpoint, name_or_path, **own)
