"""The models by the names that people know: for each family a bare encoder, and one for each task (tasks.py)."""

from __future__ import annotations

from minidistil.model import Model
from minidistil.outputs import BaseModelOutput
from minidistil.tasks import (
    MaskedLM,
    MultipleChoice,
    Pooled,
    QuestionAnswering,
    SequenceClassification,
    TokenClassification,
)

__all__ = ["MaskedLM", "Model"]  # and every class below


class DistilBertModel(Model[BaseModelOutput]):
    """DistilBERT's encoder: `last_hidden_state`."""

    families = ("distilbert",)


class DistilBertForMaskedLM(MaskedLM):
    """DistilBERT with the masked-language-model head."""

    families = ("distilbert",)


class DistilBertForSequenceClassification(SequenceClassification):
    """DistilBERT with a head on whole sentences: a ReLU between two products."""

    families = ("distilbert",)


class DistilBertForQuestionAnswering(QuestionAnswering):
    """DistilBERT with a head that finds where an answer begins and ends."""

    families = ("distilbert",)


class DistilBertForTokenClassification(TokenClassification):
    """DistilBERT with a head on every token."""

    families = ("distilbert",)


class DistilBertForMultipleChoice(MultipleChoice):
    """DistilBERT with a head that scores the choices of a question."""

    families = ("distilbert",)


class BertModel(Pooled):
    """BERT's encoder: `last_hidden_state`, and `pooler_output` where the checkpoint has a pooler."""

    families = ("bert",)


class BertForMaskedLM(MaskedLM):
    """BERT with the masked-language-model head."""

    families = ("bert",)


class BertForSequenceClassification(SequenceClassification):
    """BERT with a head on whole sentences: a product over the pooler."""

    families = ("bert",)


class BertForQuestionAnswering(QuestionAnswering):
    """BERT with a head that finds where an answer begins and ends."""

    families = ("bert",)


class BertForTokenClassification(TokenClassification):
    """BERT with a head on every token."""

    families = ("bert",)


class BertForMultipleChoice(MultipleChoice):
    """BERT with a head that scores the choices of a question, over the pooler."""

    families = ("bert",)
