"""What the models return: read by attribute, by key, by position, or taken apart as a tuple."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np


class ModelOutput(dict[str, Any]):
    """Named arrays of one model call, in a fixed order; what was not computed is None and takes no place.

    `out.logits`, `out["logits"]`, `out[0]`, `out[:2]` and `out.to_tuple()` all work. As a mapping it behaves like a
    dictionary: iterating gives the names (as transformers' ModelOutput does), so unpack `out.to_tuple()`.

    A subclass's fields are those that it annotates, then the two that every output has.

    Attributes:
        hidden_states: L + 1 arrays float32 [B, S, D], the first after the embedding LayerNorm; None unless asked for.
        attentions: L arrays float32 [B, H, S, S], zero where either token is dropped; None unless asked for.
    """

    hidden_states: tuple[np.ndarray, ...] | None
    attentions: tuple[np.ndarray, ...] | None
    _fields: ClassVar[tuple[str, ...]] = ("hidden_states", "attentions")

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._fields = (*cls._fields[:-2], *inspect.get_annotations(cls), *cls._fields[-2:])

    def __init__(self, **values: Any) -> None:
        unknown = values.keys() - set(self._fields)
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {sorted(unknown)}; it has {list(self._fields)}")
        super().__init__((name, values[name]) for name in self._fields if values.get(name) is not None)

    if not TYPE_CHECKING:  # who checks types knows the fields by their annotations, and that there are no others

        def __getattr__(self, name: str) -> Any:
            if name in type(self)._fields:
                return self.get(name)
            raise AttributeError(f"{type(self).__name__} has no field {name!r}; it has {list(self._fields)}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in type(self)._fields:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}; it has {list(self._fields)}")
        if value is None:
            self.pop(name, None)
        else:
            self[name] = value

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            return super().__getitem__(key)
        return self.to_tuple()[key]

    def to_tuple(self) -> tuple[Any, ...]:
        """Return everything that was computed, in the order of the fields."""
        return tuple(super(ModelOutput, self).__getitem__(name) for name in self._fields if name in self)

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *self._fields]


class BaseModelOutput(ModelOutput):
    """Output of a bare encoder.

    Attributes:
        last_hidden_state: float32 [B, S, D]; rows of tokens that the mask drops are zero.
    """

    last_hidden_state: np.ndarray


class BaseModelOutputWithPooling(ModelOutput):
    """Output of BERT's bare encoder: `BaseModelOutput` and the pooled first token.

    Attributes:
        last_hidden_state: float32 [B, S, D].
        pooler_output: float32 [B, D], tanh of a linear layer over each sentence's first attended token; None where
            the checkpoint has no pooler.
    """

    last_hidden_state: np.ndarray
    pooler_output: np.ndarray | None


class MaskedLMOutput(ModelOutput):
    """Output of a masked language model.

    Attributes:
        logits: float32 [B, S, V]; rows of tokens that the mask drops are zero.
    """

    logits: np.ndarray


class SequenceClassifierOutput(ModelOutput):
    """Output of a classifier of sentences.

    Attributes:
        logits: float32 [B, N].
    """

    logits: np.ndarray


class TokenClassifierOutput(ModelOutput):
    """Output of a classifier of tokens.

    Attributes:
        logits: float32 [B, S, N]; rows of tokens that the mask drops are zero.
    """

    logits: np.ndarray


class QuestionAnsweringModelOutput(ModelOutput):
    """Output of a model that finds a span.

    Attributes:
        start_logits: float32 [B, S], how well an answer begins at each token; zero where the mask drops it.
        end_logits: float32 [B, S], how well it ends there.
    """

    start_logits: np.ndarray
    end_logits: np.ndarray


class MultipleChoiceModelOutput(ModelOutput):
    """Output of a model that chooses; hidden states and attentions, where asked for, are of B C sentences.

    Attributes:
        logits: float32 [B, C], a score for each choice of each question.
    """

    logits: np.ndarray


class ElectraForPreTrainingOutput(ModelOutput):
    """Output of ELECTRA's discriminator.

    Attributes:
        logits: float32 [B, S], positive where a token looks put in place of another; zero where the mask drops it.
    """

    logits: np.ndarray
