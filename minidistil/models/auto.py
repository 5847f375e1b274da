"""Choosing the class by what a checkpoint says it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from minidistil._float_mode import default_mode
from minidistil.models import tasks
from minidistil.models.base import LoadOptions, Model, divided
from minidistil.models.classes import CLASSES
from minidistil.weights.config import Config
from minidistil.weights.options import spelled_out

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from minidistil.weights import Checkpoint

# Every class of classes.py, by its head ("" for none) and its family.
_BY_HEAD: dict[str, dict[str, type[Model[Any]]]] = {}
for _class in CLASSES.values():
    for _family in _class.families:
        _BY_HEAD.setdefault("".join(_class.heads), {})[_family] = _class

Loaded = TypeVar("Loaded", bound=Model[Any])


class AutoLoader(Generic[Loaded]):
    """What the classes have in common."""

    _head: ClassVar[str] = ""

    @classmethod
    @spelled_out(LoadOptions)
    @default_mode()
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], **options: Unpack[LoadOptions]) -> Loaded:
        """Load a checkpoint by the class that its model_type asks for.

        Args:
            name_or_path: a folder, `package:NAME` of an installed package that carries one, or a hub id.
            **options: `LoadOptions`.

        Raises:
            CheckpointError: files that are missing, damaged or contradict each other; lists every fault.
            ValueError: a checkpoint of a family that has no such class, or an unknown option.
        """
        from minidistil.weights import open_checkpoint

        hub, own = divided(options)
        checkpoint = open_checkpoint(name_or_path, **hub)
        return cast(Loaded, _of_family(cls._head, checkpoint).from_checkpoint(checkpoint, name_or_path, **own))


class AutoConfig:
    """Loads the configuration of a checkpoint."""

    from_pretrained = Config.from_pretrained


class AutoModel(AutoLoader[Model[Any]]):
    """Loads the bare encoder of any supported family."""


class AutoModelForMaskedLM(AutoLoader[tasks.MaskedLM]):
    """Loads any supported family with its masked-language-model head."""

    _head = "masked_lm"


class AutoModelForSequenceClassification(AutoLoader[tasks.SequenceClassification]):
    """Loads any supported family with its head on whole sentences."""

    _head = "sequence_classification"


class AutoModelForQuestionAnswering(AutoLoader[tasks.QuestionAnswering]):
    """Loads any supported family with its head that finds an answer's span."""

    _head = "question_answering"


class AutoModelForTokenClassification(AutoLoader[tasks.TokenClassification]):
    """Loads any supported family with its head on every token."""

    _head = "token_classification"


class AutoModelForMultipleChoice(AutoLoader[tasks.MultipleChoice]):
    """Loads any supported family with its head that scores the choices of a question."""

    _head = "multiple_choice"


def class_of(checkpoint: Checkpoint) -> type[Model[Any]]:
    """Return the class with the head that config.json's `architectures` names; the bare encoder's where there is none.

    The family is the one that model_type says: what its checkpoints were saved by may have been another's class.
    """
    from minidistil.weights.config_values import architectures

    # Of BertForPreTraining's two heads minidistil has the first, which is BertForMaskedLM's.
    names = [(n, n.replace("ForPreTraining", "ForMaskedLM")) for n in architectures(checkpoint.config)]
    heads = ("".join(CLASSES[name].heads) for both in names for name in both if name in CLASSES)
    family = str(checkpoint.config.get("model_type"))
    return _of_family(next((head for head in heads if family in _BY_HEAD[head]), ""), checkpoint)


def _of_family(head: str, checkpoint: Checkpoint) -> type[Model[Any]]:
    # Any class will do for an unsupported family: reading its config.json names those supported.
    classes = _BY_HEAD[head]
    return classes.get(str(checkpoint.config.get("model_type")), next(iter(classes.values())))
