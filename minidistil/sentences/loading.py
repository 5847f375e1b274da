"""`load`: a checkpoint as what it was saved as, whatever that is."""

from __future__ import annotations

import os
from typing import Any

from minidistil.auto import class_of
from minidistil.model import Model
from minidistil.sentences.cross_encoder import CrossEncoder
from minidistil.sentences.encoder import SentenceEncoder
from minidistil.sentences.files import is_reranker
from minidistil.weights import locate, open_checkpoint


def load(
    name_or_path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    threads: int | None = None,
    backend: str = "engine",
) -> Model[Any] | SentenceEncoder | CrossEncoder:
    """Load a checkpoint as what it was saved as.

    Args:
        name_or_path: a folder, `package:NAME` of an installed package that carries one, or a hub id.
        revision: hub branch, tag or commit.
        cache_dir: where hub files are kept.
        local_files_only: never open a connection.
        token: hub credentials.
        threads: to compute with; None for what the process may use.
        backend: "engine", "exact" or "blas".

    Returns:
        A `CrossEncoder` where sentence-transformers saved one; else a `SentenceEncoder` where modules.json is there;
        else the class that config.json names in `architectures`, or the bare encoder where minidistil does not have
        that class. All of them have `.tokenizer` and `.config`, and all but cross-encoders `.encode`.

    Raises:
        CheckpointError: files that are missing, damaged or contradict each other; lists every fault.
        ValueError: an unknown option, or a module that minidistil does not have.
    """
    folder = locate(
        name_or_path, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
    )
    if is_reranker(folder):
        return CrossEncoder(folder, threads=threads, backend=backend)
    if (folder / "modules.json").is_file():
        return SentenceEncoder.from_folder(folder, threads=threads, backend=backend)
    checkpoint = open_checkpoint(folder)
    return class_of(checkpoint).from_checkpoint(checkpoint, threads=threads, backend=backend)
