"""Choosing the class by what a checkpoint says it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

from minidistil import models
from minidistil.models import Model

if TYPE_CHECKING:
    from minidistil.sentences import SentenceEncoder
    from minidistil.weights import Checkpoint

_BARE: dict[str, type[Model]] = {"distilbert": models.DistilBertModel, "bert": models.BertModel}
_MASKED_LM: dict[str, type[Model]] = {"distilbert": models.DistilBertForMaskedLM, "bert": models.BertForMaskedLM}
_ARCHITECTURES: dict[str, type[Model]] = {c.__name__: c for table in (_BARE, _MASKED_LM) for c in table.values()}


class AutoModel:
    """Loads the bare encoder of any supported family."""

    _classes: ClassVar[dict[str, type[Model]]] = _BARE

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        threads: int | None = None,
        backend: str = "engine",
    ) -> Any:
        """Load a checkpoint by the class that its model_type asks for; see `Model.from_pretrained`."""
        from minidistil.weights import open_checkpoint

        checkpoint = open_checkpoint(
            name_or_path, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
        )
        return _of_family(cls._classes, checkpoint).from_checkpoint(checkpoint, threads=threads, backend=backend)


class AutoModelForMaskedLM(AutoModel):
    """Loads any supported family with its masked-language-model head."""

    _classes = _MASKED_LM


def load(
    name_or_path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    threads: int | None = None,
    backend: str = "engine",
) -> Model | SentenceEncoder:
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
        A `SentenceEncoder` where modules.json is there; else the class that config.json names in `architectures`, or
        the bare encoder where minidistil does not have that class. All of them have `.encode`, `.tokenizer` and
        `.config`.

    Raises:
        CheckpointError: files that are missing, damaged or contradict each other; lists every fault.
        ValueError: an unknown option, or a module that minidistil does not have.
    """
    from minidistil.weights import open_checkpoint
    from minidistil.weights.locate import locate

    folder = locate(
        name_or_path, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
    )
    if (folder / "modules.json").is_file():
        from minidistil.sentences import SentenceEncoder

        return SentenceEncoder.from_folder(folder, threads=threads, backend=backend)
    checkpoint = open_checkpoint(folder)
    chosen = _by_architecture(checkpoint) or _of_family(_BARE, checkpoint)
    return chosen.from_checkpoint(checkpoint, threads=threads, backend=backend)


def _by_architecture(checkpoint: Checkpoint) -> type[Model] | None:
    names = checkpoint.config.get("architectures") or ()
    return next((_ARCHITECTURES[name] for name in names if name in _ARCHITECTURES), None)


def _of_family(classes: dict[str, type[Model]], checkpoint: Checkpoint) -> type[Model]:
    # Any class will do for an unsupported family: reading its config.json names those supported.
    return classes.get(str(checkpoint.config.get("model_type")), next(iter(classes.values())))
