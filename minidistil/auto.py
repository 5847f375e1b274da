"""Choosing the class by what a checkpoint says it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from minidistil import models, tasks
from minidistil.config import Config
from minidistil.kernels.float_mode import default_mode
from minidistil.kernels.loading import loading
from minidistil.model import Model

if TYPE_CHECKING:
    from minidistil.sentences import CrossEncoder, SentenceEncoder
    from minidistil.weights import Checkpoint

# Every class of models.py, by its head ("" for none) and its family.
_CLASSES: dict[str, dict[str, type[Model[Any]]]] = {}
_ARCHITECTURES: dict[str, type[Model[Any]]] = {}
for _class in vars(models).values():
    if isinstance(_class, type) and issubclass(_class, Model) and _class.families:
        _ARCHITECTURES[_class.__name__] = _class
        for _family in _class.families:
            _CLASSES.setdefault("".join(_class.heads), {})[_family] = _class

Loaded = TypeVar("Loaded", bound=Model[Any])


class _Auto(Generic[Loaded]):
    _head: ClassVar[str] = ""

    @classmethod
    @default_mode()
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
    ) -> Loaded:
        """Load a checkpoint by the class that its model_type asks for; see `Model.from_pretrained`."""
        from minidistil.weights import open_checkpoint

        checkpoint = open_checkpoint(
            name_or_path, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
        )
        chosen = _of_family(cls._head, checkpoint)
        return cast(Loaded, chosen.from_checkpoint(checkpoint, threads=threads, backend=backend))


class AutoConfig:
    """Loads the configuration of a checkpoint."""

    from_pretrained = Config.from_pretrained


class AutoModel(_Auto[Model[Any]]):
    """Loads the bare encoder of any supported family."""


class AutoModelForMaskedLM(_Auto[tasks.MaskedLM]):
    """Loads any supported family with its masked-language-model head."""

    _head = "masked_lm"


class AutoModelForSequenceClassification(_Auto[tasks.SequenceClassification]):
    """Loads any supported family with its head on whole sentences."""

    _head = "sequence_classification"


class AutoModelForQuestionAnswering(_Auto[tasks.QuestionAnswering]):
    """Loads any supported family with its head that finds an answer's span."""

    _head = "question_answering"


class AutoModelForTokenClassification(_Auto[tasks.TokenClassification]):
    """Loads any supported family with its head on every token."""

    _head = "token_classification"


class AutoModelForMultipleChoice(_Auto[tasks.MultipleChoice]):
    """Loads any supported family with its head that scores the choices of a question."""

    _head = "multiple_choice"


@default_mode()
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
    from minidistil.weights import open_checkpoint
    from minidistil.weights.locate import locate

    folder = locate(
        name_or_path, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
    )
    with loading():
        from minidistil.sentences.files import is_reranker

    if is_reranker(folder):
        from minidistil.sentences import CrossEncoder

        return CrossEncoder(folder, threads=threads, backend=backend)
    if (folder / "modules.json").is_file():
        from minidistil.sentences import SentenceEncoder

        return SentenceEncoder.from_folder(folder, threads=threads, backend=backend)
    checkpoint = open_checkpoint(folder)
    chosen = _by_architecture(checkpoint) or _of_family("", checkpoint)
    return chosen.from_checkpoint(checkpoint, threads=threads, backend=backend)


def _by_architecture(checkpoint: Checkpoint) -> type[Model[Any]] | None:
    # Of BertForPreTraining's two heads minidistil has the first, which is BertForMaskedLM's.
    names = [(n, n.replace("ForPreTraining", "ForMaskedLM")) for n in checkpoint.config.get("architectures") or ()]
    return next((_ARCHITECTURES[name] for both in names for name in both if name in _ARCHITECTURES), None)


def _of_family(head: str, checkpoint: Checkpoint) -> type[Model[Any]]:
    # Any class will do for an unsupported family: reading its config.json names those supported.
    classes = _CLASSES[head]
    return classes.get(str(checkpoint.config.get("model_type")), next(iter(classes.values())))
