"""The classes that minidistil.models.classes makes of its tables, made by `python -m tests.project.make_stubs`."""

from typing import Any

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

CLASSES: dict[str, type[Model[Any]]]

class DistilBertModel(Encoder):
    """DistilBERT's encoder: `last_hidden_state`."""

class DistilBertForMaskedLM(MaskedLM):
    """DistilBERT with the masked-language-model head."""

class DistilBertForSequenceClassification(SequenceClassification):
    """DistilBERT with a head on whole sentences: a ReLU between two products."""

class DistilBertForQuestionAnswering(QuestionAnswering):
    """DistilBERT with a head that finds where an answer begins and ends."""

class DistilBertForTokenClassification(TokenClassification):
    """DistilBERT with a head on every token."""

class DistilBertForMultipleChoice(MultipleChoice):
    """DistilBERT with a head that scores the choices of a question."""

class BertModel(Pooled):
    """BERT's encoder: `last_hidden_state`, and `pooler_output` where the checkpoint has a pooler."""

class BertForMaskedLM(MaskedLM):
    """BERT with the masked-language-model head."""

class BertForSequenceClassification(SequenceClassification):
    """BERT with a head on whole sentences: a product over the pooler."""

class BertForQuestionAnswering(QuestionAnswering):
    """BERT with a head that finds where an answer begins and ends."""

class BertForTokenClassification(TokenClassification):
    """BERT with a head on every token."""

class BertForMultipleChoice(MultipleChoice):
    """BERT with a head that scores the choices of a question, over the pooler."""

class RobertaModel(Pooled):
    """RoBERTa's encoder: `last_hidden_state`, and `pooler_output` where the checkpoint has a pooler."""

class RobertaForMaskedLM(MaskedLM):
    """RoBERTa with the masked-language-model head."""

class RobertaForSequenceClassification(SequenceClassification):
    """RoBERTa with a head on whole sentences: a tanh between two products of its own."""

class RobertaForQuestionAnswering(QuestionAnswering):
    """RoBERTa with a head that finds where an answer begins and ends."""

class RobertaForTokenClassification(TokenClassification):
    """RoBERTa with a head on every token."""

class RobertaForMultipleChoice(MultipleChoice):
    """RoBERTa with a head that scores the choices of a question, over the pooler."""

class XLMRobertaModel(Pooled):
    """XLM-RoBERTa's encoder: `last_hidden_state`, and `pooler_output` where the checkpoint has a pooler."""

class XLMRobertaForMaskedLM(MaskedLM):
    """XLM-RoBERTa with the masked-language-model head."""

class XLMRobertaForSequenceClassification(SequenceClassification):
    """XLM-RoBERTa with a head on whole sentences: a tanh between two products of its own."""

class XLMRobertaForQuestionAnswering(QuestionAnswering):
    """XLM-RoBERTa with a head that finds where an answer begins and ends."""

class XLMRobertaForTokenClassification(TokenClassification):
    """XLM-RoBERTa with a head on every token."""

class XLMRobertaForMultipleChoice(MultipleChoice):
    """XLM-RoBERTa with a head that scores the choices of a question, over the pooler."""

class CamembertModel(Pooled):
    """CamemBERT's encoder: `last_hidden_state`, and `pooler_output` where the checkpoint has a pooler."""

class CamembertForMaskedLM(MaskedLM):
    """CamemBERT with the masked-language-model head."""

class CamembertForSequenceClassification(SequenceClassification):
    """CamemBERT with a head on whole sentences: a tanh between two products of its own."""

class CamembertForQuestionAnswering(QuestionAnswering):
    """CamemBERT with a head that finds where an answer begins and ends."""

class CamembertForTokenClassification(TokenClassification):
    """CamemBERT with a head on every token."""

class CamembertForMultipleChoice(MultipleChoice):
    """CamemBERT with a head that scores the choices of a question, over the pooler."""

class AlbertModel(Pooled):
    """ALBERT's encoder: `last_hidden_state`, and `pooler_output` where the checkpoint has a pooler."""

class AlbertForMaskedLM(MaskedLM):
    """ALBERT with the masked-language-model head."""

class AlbertForSequenceClassification(SequenceClassification):
    """ALBERT with a head on whole sentences: a product over the pooler."""

class AlbertForQuestionAnswering(QuestionAnswering):
    """ALBERT with a head that finds where an answer begins and ends."""

class AlbertForTokenClassification(TokenClassification):
    """ALBERT with a head on every token."""

class AlbertForMultipleChoice(MultipleChoice):
    """ALBERT with a head that scores the choices of a question, over the pooler."""

class ElectraModel(Encoder):
    """ELECTRA's encoder: `last_hidden_state`."""

class ElectraForMaskedLM(MaskedLM):
    """ELECTRA with the masked-language-model head (the generator's)."""

class ElectraForSequenceClassification(SequenceClassification):
    """ELECTRA with a head on whole sentences: a GELU between two products of its own."""

class ElectraForQuestionAnswering(QuestionAnswering):
    """ELECTRA with a head that finds where an answer begins and ends."""

class ElectraForTokenClassification(TokenClassification):
    """ELECTRA with a head on every token."""

class ElectraForMultipleChoice(MultipleChoice):
    """ELECTRA with a head that scores the choices of a question, over a product and a GELU."""

class ElectraForPreTraining(Discriminator):
    """ELECTRA's discriminator: which tokens were put in place of others."""

class MobileBertModel(Pooled):
    """MobileBERT's encoder: `last_hidden_state`, and `pooler_output` where there is a pooler, or none is needed."""

class MobileBertForMaskedLM(MaskedLM):
    """MobileBERT with the masked-language-model head."""

class MobileBertForSequenceClassification(SequenceClassification):
    """MobileBERT with a head on whole sentences: a product over the pooler."""

class MobileBertForQuestionAnswering(QuestionAnswering):
    """MobileBERT with a head that finds where an answer begins and ends."""

class MobileBertForTokenClassification(TokenClassification):
    """MobileBERT with a head on every token."""

class MobileBertForMultipleChoice(MultipleChoice):
    """MobileBERT with a head that scores the choices of a question, over the pooler."""
