"""The class that code written for sentence-transformers begins with."""

from __future__ import annotations

import enum
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidistil._float_mode import default_mode
from minidistil._keywords import SentenceKeywords
from minidistil._loading import loading
from minidistil._options import check_device
from minidistil.sentences.encoder import SentenceEncoder
from minidistil.sentences.files import read_sentence_files
from minidistil.sentences.prompted import SentenceOptions, resolved
from minidistil.weights.options import spelled_out

if TYPE_CHECKING:
    from typing_extensions import Unpack


class _Options(SentenceOptions, SentenceKeywords, total=False):
    """Of `SentenceTransformer`."""


@spelled_out(_Options)
class SentenceTransformer(SentenceEncoder):
    """A `SentenceEncoder` that is made of the name of its checkpoint.

    Args:
        model_name_or_path: a folder, `package:NAME` of an installed package that carries one, or a hub id; one without
            an organization is looked for under sentence-transformers/.
        device: None or "cpu".
        prompts: text by name, over those of the checkpoint.
        default_prompt_name: the one that is used unless told otherwise; unset, the checkpoint's.
        similarity_fn_name: "cosine", "dot", "euclidean" or "manhattan"; unset, the checkpoint's.
        truncate_dim: dimensions that are kept; unset, what the checkpoint says.
        **options: `SentenceOptions`. "torch" is a name of the default backend.

    Raises:
        CheckpointError: files that are missing, damaged or contradict each other; lists every fault.
        ValueError: an unknown option, or a module that minidistil does not have.
    """

    @default_mode()
    def __init__(
        self,
        model_name_or_path: str | os.PathLike[str],
        *,
        device: Any = None,
        prompts: dict[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: str | enum.Enum | None = None,
        truncate_dim: int | None = None,
        **options: Unpack[_Options],
    ) -> None:
        with loading():
            from minidistil.models.auto import AutoModel
            from minidistil.weights.locate import find

        check_device(device)
        hub, own, tokenizer_options = resolved(options)
        source = find(_full_name(model_name_or_path), **hub)
        files = read_sentence_files(source.folder)
        model = AutoModel.from_pretrained(source.at(files.transformer or source.folder), **own)
        super().__init__(model, source, files, tokenizer_options)
        self.prompts.update(prompts or {})
        if default_prompt_name is not None:
            self.prompt_text(name=default_prompt_name)  # refuses a name that there is not
            self.default_prompt_name = default_prompt_name
        if similarity_fn_name is not None:
            self.similarity_fn_name = similarity_fn_name
        if truncate_dim is not None:
            self.truncate_dim = truncate_dim


def _full_name(name_or_path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    if not isinstance(name_or_path, str) or any(c in name_or_path for c in "/\\:") or Path(name_or_path).exists():
        return name_or_path
    if name_or_path.startswith(_WITHOUT_ORGANIZATION):
        return name_or_path
    return f"sentence-transformers/{name_or_path}"


# How the names of the first checkpoints begin, which are the hub's own.
_WITHOUT_ORGANIZATION = (
    "albert-", "bert-base-", "bert-large-", "camembert-base", "distilbert-base-", "distilroberta-base", "roberta-base",
    "roberta-large", "xlm-roberta-base", "xlm-roberta-large",
)  # fmt: skip
