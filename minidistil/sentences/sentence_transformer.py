"""The class that code written for sentence-transformers begins with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from minidistil.kernels.float_mode import default_mode
from minidistil.kernels.loading import loading
from minidistil.sentences.encoder import SentenceEncoder
from minidistil.sentences.files import read_sentence_files


class SentenceTransformer(SentenceEncoder):
    """A `SentenceEncoder` that is made of the name of its checkpoint.

    Args:
        model_name_or_path: a folder, `package:NAME` of an installed package that carries one, or a hub id; one without
            an organization is looked for under sentence-transformers/.
        device: None or "cpu".
        prompts: text by name, over those of the checkpoint.
        default_prompt_name: the one that is used unless told otherwise; unset, the checkpoint's.
        similarity_fn_name: "cosine", "dot", "euclidean" or "manhattan"; unset, the checkpoint's.
        cache_folder: where hub files are kept.
        local_files_only: never open a connection.
        revision: hub branch, tag or commit.
        token: hub credentials.
        truncate_dim: dimensions that are kept; unset, what the checkpoint says.
        threads: to compute with; None for what the process may use.
        backend: "engine", "exact" or "blas".

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
        similarity_fn_name: str | None = None,
        cache_folder: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        token: str | bool | None = None,
        truncate_dim: int | None = None,
        threads: int | None = None,
        backend: str = "engine",
    ) -> None:
        with loading():
            from minidistil.auto import AutoModel
            from minidistil.weights import locate

        if device is not None and str(device) != "cpu":
            raise ValueError(f"minidistil computes on the CPU only, got device {str(device)!r}")
        folder = locate(
            _full_name(model_name_or_path),
            revision=revision,
            cache_dir=cache_folder,
            local_files_only=local_files_only,
            token=token,
        )
        files = read_sentence_files(folder)
        model = AutoModel.from_pretrained(files.transformer or folder, threads=threads, backend=backend)
        super().__init__(model, folder, files)
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
    return f"sentence-transformers/{name_or_path}"
