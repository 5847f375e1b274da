"""The models by the names that people know: for each family a bare encoder, and one for each task (tasks.py)."""

from __future__ import annotations

from minidistil.model import Model
from minidistil.outputs import BaseModelOutput
from minidistil.tasks import (
    Discriminator,
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


class RobertaModel(Pooled):
    """RoBERTa's encoder: `last_hidden_state`, and `pooler_output` where the checkpoint has a pooler."""

    families = ("roberta",)


class RobertaForMaskedLM(MaskedLM):
    """RoBERTa with the masked-language-model head."""

    families = ("roberta",)


class RobertaForSequenceClassification(SequenceClassification):
    """RoBERTa with a head on whole sentences: a tanh between two products of its own."""

    families = ("roberta",)


class RobertaForQuestionAnswering(QuestionAnswering):
    """RoBERTa with a head that finds where an answer begins and ends."""

    families = ("roberta",)


class RobertaForTokenClassification(TokenClassification):
    """RoBERTa with a head on every token."""

    families = ("roberta",)


class RobertaForMultipleChoice(MultipleChoice):
    """RoBERTa with a head that scores the choices of a question, over the pooler."""

    families = ("roberta",)


class XLMRobertaModel(Pooled):
    """XLM-RoBERTa's encoder: `last_hidden_state`, and `pooler_output` where the checkpoint has a pooler."""

    families = ("xlm-roberta",)


class XLMRobertaForMaskedLM(MaskedLM):
    """XLM-RoBERTa with the masked-language-model head."""

    families = ("xlm-roberta",)


class XLMRobertaForSequenceClassification(SequenceClassification):
    """XLM-RoBERTa with a head on whole sentences: a tanh between two products of its own."""

    families = ("xlm-roberta",)


class XLMRobertaForQuestionAnswering(QuestionAnswering):
    """XLM-RoBERTa with a head that finds where an answer begins and ends."""

    families = ("xlm-roberta",)


class XLMRobertaForTokenClassification(TokenClassification):
    """XLM-RoBERTa with a head on every token."""

    families = ("xlm-roberta",)


class XLMRobertaForMultipleChoice(MultipleChoice):
    """XLM-RoBERTa with a head that scores the choices of a question, over the pooler."""

    families = ("xlm-roberta",)


class CamembertModel(Pooled):
    """CamemBERT's encoder: `last_hidden_state`, and `pooler_output` where the checkpoint has a pooler."""

    families = ("camembert",)


class CamembertForMaskedLM(MaskedLM):
    """CamemBERT with the masked-language-model head."""

    families = ("camembert",)


class CamembertForSequenceClassification(SequenceClassification):
    """CamemBERT with a head on whole sentences: a tanh between two products of its own."""

    families = ("camembert",)


class CamembertForQuestionAnswering(QuestionAnswering):
    """CamemBERT with a head that finds where an answer begins and ends."""

    families = ("camembert",)


class CamembertForTokenClassification(TokenClassification):
    """CamemBERT with a head on every token."""

    families = ("camembert",)


class CamembertForMultipleChoice(MultipleChoice):
    """CamemBERT with a head that scores the choices of a question, over the pooler."""

    families = ("camembert",)


class AlbertModel(Pooled):
    """ALBERT's encoder: `last_hidden_state`, and `pooler_output` where the checkpoint has a pooler."""

    families = ("albert",)


class AlbertForMaskedLM(MaskedLM):
    """ALBERT with the masked-language-model head."""

    families = ("albert",)


class AlbertForSequenceClassification(SequenceClassification):
    """ALBERT with a head on whole sentences: a product over the pooler."""

    families = ("albert",)


class AlbertForQuestionAnswering(QuestionAnswering):
    """ALBERT with a head that finds where an answer begins and ends."""

    families = ("albert",)


class AlbertForTokenClassification(TokenClassification):
    """ALBERT with a head on every token."""

    families = ("albert",)


class AlbertForMultipleChoice(MultipleChoice):
    """ALBERT with a head that scores the choices of a question, over the pooler."""

    families = ("albert",)


class ElectraModel(Model[BaseModelOutput]):
    """ELECTRA's encoder: `last_hidden_state`."""

    families = ("electra",)


class ElectraForMaskedLM(MaskedLM):
    """ELECTRA with the masked-language-model head (the generator's)."""

    families = ("electra",)


class ElectraForPreTraining(Discriminator):
    """ELECTRA's discriminator: which tokens were put in place of others."""

    families = ("electra",)


class ElectraForSequenceClassification(SequenceClassification):
    """ELECTRA with a head on whole sentences: a GELU between two products of its own."""

    families = ("electra",)


class ElectraForQuestionAnswering(QuestionAnswering):
    """ELECTRA with a head that finds where an answer begins and ends."""

    families = ("electra",)


class ElectraForTokenClassification(TokenClassification):
    """ELECTRA with a head on every token."""

    families = ("electra",)


class ElectraForMultipleChoice(MultipleChoice):
    """ELECTRA with a head that scores the choices of a question, over a product and a GELU."""

    families = ("electra",)


class MobileBertModel(Pooled):
    """MobileBERT's encoder: `last_hidden_state`, and `pooler_output` where there is a pooler, or none is needed."""

    families = ("mobilebert",)


class MobileBertForMaskedLM(MaskedLM):
    """MobileBERT with the masked-language-model head."""

    families = ("mobilebert",)


class MobileBertForSequenceClassification(SequenceClassification):
    """MobileBERT with a head on whole sentences: a product over the pooler."""

    families = ("mobilebert",)


class MobileBertForQuestionAnswering(QuestionAnswering):
    """MobileBERT with a head that finds where an answer begins and ends."""

    families = ("mobilebert",)


class MobileBertForTokenClassification(TokenClassification):
    """MobileBERT with a head on every token."""

    families = ("mobilebert",)


class MobileBertForMultipleChoice(MultipleChoice):
    """MobileBERT with a head that scores the choices of a question, over the pooler."""

    families = ("mobilebert",)
