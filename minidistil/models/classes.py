"""The models by the names that people know: for each family a bare encoder, and one for each task (tasks.py).

The classes are made of the tables below, by the names of class_names.py. models.pyi, which tests/project/make_stubs.py
writes, shows them to type checkers and editors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from minidistil.class_names import class_names
from minidistil.models.base import Model
from minidistil.models.tasks import (
    Discriminator,
    Encoder,
    MaskedLM,
    MultipleChoice,
    Pooled,
    QuestionAnswering,
    SequenceClassification,
    TokenClassification,
)

# Ending -> class of tasks.py, and what a family's class says of itself.
_TASKS: dict[str, tuple[type[Model[Any]], str]] = {
    "ForMaskedLM": (MaskedLM, "{} with the masked-language-model head{}."),
    "ForSequenceClassification": (SequenceClassification, "{} with a head on whole sentences{}."),
    "ForQuestionAnswering": (QuestionAnswering, "{} with a head that finds where an answer begins and ends{}."),
    "ForTokenClassification": (TokenClassification, "{} with a head on every token{}."),
    "ForMultipleChoice": (MultipleChoice, "{} with a head that scores the choices of a question{}."),
    "ForPreTraining": (Discriminator, "{}'s discriminator{}."),
}


class _Family(NamedTuple):
    """A family as its classes show it: its name, the class of its bare encoder, and by ending what is its own."""

    name: str
    encoder: type[Model[Any]]
    own: Mapping[str, str]


_POOLER = ", and `pooler_output` where the checkpoint has a pooler"
_BERT = {
    "Model": _POOLER,
    "ForSequenceClassification": ": a product over the pooler",
    "ForMultipleChoice": ", over the pooler",
}
_ROBERTA = {**_BERT, "ForSequenceClassification": ": a tanh between two products of its own"}
_ELECTRA = {
    "ForMaskedLM": " (the generator's)",
    "ForSequenceClassification": ": a GELU between two products of its own",
    "ForMultipleChoice": ", over a product and a GELU",
    "ForPreTraining": ": which tokens were put in place of others",
}
_FAMILIES = {
    "distilbert": _Family("DistilBERT", Encoder, {"ForSequenceClassification": ": a ReLU between two products"}),
    "bert": _Family("BERT", Pooled, _BERT),
    "roberta": _Family("RoBERTa", Pooled, _ROBERTA),
    "xlm-roberta": _Family("XLM-RoBERTa", Pooled, _ROBERTA),
    "camembert": _Family("CamemBERT", Pooled, _ROBERTA),
    "albert": _Family("ALBERT", Pooled, _BERT),
    "electra": _Family("ELECTRA", Encoder, _ELECTRA),
    "mobilebert": _Family(
        "MobileBERT", Pooled, {**_BERT, "Model": ", and `pooler_output` where there is a pooler, or none is needed"}
    ),
}


def _make(model_type: str, ending: str, name: str) -> type[Model[Any]]:
    family = _FAMILIES[model_type]
    task, about = _TASKS.get(ending) or (family.encoder, "{}'s encoder: `last_hidden_state`{}.")
    doc = about.format(family.name, family.own.get(ending, ""))
    return type(name, (task,), {"__module__": __name__, "__doc__": doc, "families": (model_type,)})


CLASSES = {name: _make(model_type, ending, name) for model_type, ending, name in class_names()}
"""Every class by its name."""

globals().update(CLASSES)
__all__ = ["CLASSES", *CLASSES]
