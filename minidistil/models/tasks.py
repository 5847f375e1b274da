"""A model for each task: an encoder of any family with a head (heads.py), and its results in the caller's layout.

B sentences, C choices of a question, S padded length, T packed tokens, N labels, V vocabulary. `__call__` takes padded
arrays; `logits_packed` and `spans_packed` take packed batches, which pipelines make. Both give the same bits. Rows of
dropped tokens are zero.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.models.base import Model, first_tokens
from minidistil.models.heads import (
    discriminator,
    multiple_choice,
    pool,
    question_answering,
    sequence_classification,
    token_classification,
)
from minidistil.models.inputs import ModelInputs, flatten_choices, prepare
from minidistil.models.outputs import (
    BaseModelOutput,
    BaseModelOutputWithPooling,
    ElectraForPreTrainingOutput,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

_LOGIT_ROWS = 256  # rows of logits computed at a time where they are scattered into a padded array: 31 MB of 30,522


class Encoder(Model[BaseModelOutput]):
    """An encoder alone: `last_hidden_state` float32 [B, S, D]."""


class Pooled(Model[BaseModelOutputWithPooling]):
    """An encoder, and `pooler_output` float32 [B, D] where the checkpoint has a pooler."""

    _output = BaseModelOutputWithPooling

    def _compute_head(self, inputs: ModelInputs, last: np.ndarray) -> dict[str, Any]:
        values = super()._compute_head(inputs, last)
        first = last[first_tokens(inputs.batch)]
        if self._pooler is not None:
            values["pooler_output"] = pool(self._backend, first, self._pooler)
        elif not self.config.classifier_activation:
            values["pooler_output"] = first
        return values


class MaskedLM(Model[MaskedLMOutput]):
    """An encoder with the masked-language-model head: `logits` float32 [B, S, V]."""

    heads = ("masked_lm",)
    _output = MaskedLMOutput

    def masked_lm(self, hidden: np.ndarray) -> np.ndarray:
        """Return the logits float32 [R, V] of last hidden states float32 [R, D], of any tokens."""
        return self._backend.masked_lm(hidden)

    def _compute_head(self, inputs: ModelInputs, last: np.ndarray) -> dict[str, Any]:
        B, S, V = inputs.sentences, inputs.length, self.config.vocab_size
        if not B:
            return {"logits": np.zeros((B, S, V), np.float32)}
        if inputs.kept is None:
            return {"logits": self._backend.masked_lm(last).reshape(B, S, V)}
        logits = np.zeros((B * S, V), np.float32)
        for start in range(0, len(last), _LOGIT_ROWS):
            some = slice(start, start + _LOGIT_ROWS)
            logits[inputs.kept[some]] = self._backend.masked_lm(last[some])
        return {"logits": logits.reshape(B, S, V)}


class SequenceClassification(Model[SequenceClassifierOutput]):
    """An encoder with a head on whole sentences: `logits` float32 [B, N]."""

    heads = ("sequence_classification",)
    reads_first_only = True
    _output = SequenceClassifierOutput

    def logits_packed(self, batch: PackedBatch) -> np.ndarray:
        """Return the logits float32 [B, N] of packed sentences."""
        return self._logits(self.encode_packed(batch, first_tokens(batch)))

    def _compute_head(self, inputs: ModelInputs, last: np.ndarray) -> dict[str, Any]:
        return {"logits": self._logits(last)}

    def _logits(self, first: np.ndarray) -> np.ndarray:
        return sequence_classification(self._backend, first, self._head)


class TokenClassification(Model[TokenClassifierOutput]):
    """An encoder with a head on every token: `logits` float32 [B, S, N]."""

    heads = ("token_classification",)
    _output = TokenClassifierOutput

    def logits_packed(self, batch: PackedBatch) -> np.ndarray:
        """Return the logits float32 [T, N] of packed sentences."""
        return self._logits(self.encode_packed(batch))

    def _compute_head(self, inputs: ModelInputs, last: np.ndarray) -> dict[str, Any]:
        return {"logits": inputs.unpack(self._logits(last))}

    def _logits(self, hidden: np.ndarray) -> np.ndarray:
        return token_classification(self._backend, hidden, self._head)


class QuestionAnswering(Model[QuestionAnsweringModelOutput]):
    """An encoder with a head that finds a span: `start_logits` and `end_logits`, both float32 [B, S]."""

    heads = ("question_answering",)
    _output = QuestionAnsweringModelOutput

    def spans_packed(self, batch: PackedBatch) -> tuple[np.ndarray, np.ndarray]:
        """Return the start and the end logits, float32 [T] each, of packed sentences."""
        return self._spans(self.encode_packed(batch))

    def _compute_head(self, inputs: ModelInputs, last: np.ndarray) -> dict[str, Any]:
        start, end = self._spans(last)
        return {"start_logits": inputs.unpack_scalars(start), "end_logits": inputs.unpack_scalars(end)}

    def _spans(self, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return question_answering(self._backend, hidden, self._head)


class MultipleChoice(Model[MultipleChoiceModelOutput]):
    """An encoder with a head that scores the choices of a question: arrays [B, C, S] in, `logits` float32 [B, C].

    Hidden states and attentions, where asked for, have one row for each choice: B C of them.
    """

    heads = ("multiple_choice",)
    reads_first_only = True
    _output = MultipleChoiceModelOutput

    def _prepare(
        self, input_ids: Any, attention_mask: Any, token_type_ids: Any, position_ids: Any, inputs_embeds: Any
    ) -> ModelInputs:
        choices, arrays = flatten_choices(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
        )
        return replace(prepare(self.config, **arrays), choices=choices)

    def _compute_head(self, inputs: ModelInputs, last: np.ndarray) -> dict[str, Any]:
        return {"logits": multiple_choice(self._backend, last, self._head, inputs.choices)}


class Discriminator(Model[ElectraForPreTrainingOutput]):
    """An encoder with ELECTRA's discriminator: `logits` float32 [B, S], positive where a token looks put in."""

    heads = ("discriminator",)
    _output = ElectraForPreTrainingOutput

    def _compute_head(self, inputs: ModelInputs, last: np.ndarray) -> dict[str, Any]:
        return {"logits": inputs.unpack_scalars(discriminator(self._backend, last, self._head))}
