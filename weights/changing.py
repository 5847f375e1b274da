"""Weights with other products and tables in their places; everything else is the same object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

from minidistil.weights.model_weights import (
    TABLES,
    AnyLinear,
    EmbeddingWeights,
    Linear,
    MaskedLMWeights,
    MobileEmbeddingWeights,
    ModelWeights,
    Table,
    is_tied,
    projection,
)
from minidistil.weights.narrow import BFloat16Linear, Int8Linear, NarrowTable

_LINEARS = (Linear, BFloat16Linear, Int8Linear)


def changed(
    weights: ModelWeights, linear: Callable[[AnyLinear], AnyLinear], table: Callable[[Table], Table]
) -> ModelWeights:
    """Weights of which every product is another, and every table; what stands in several places does so again."""
    made: dict[int, Any] = {}

    def once(part: Any, make: Callable[[Any], Any]) -> Any:
        if id(part) not in made:
            made[id(part)] = make(part)
        return made[id(part)]

    def parts(part: Any) -> Any:
        if isinstance(part, _LINEARS):
            return once(part, linear)
        if isinstance(part, tuple):
            return tuple(map(parts, part))
        if isinstance(part, MaskedLMWeights):
            return once(part, head)
        if is_dataclass(part) and not isinstance(part, (type, NarrowTable)):
            return once(part, each)
        return part

    def each(part: Any) -> Any:
        changed = {field.name: parts(getattr(part, field.name)) for field in fields(part)}
        if isinstance(part, (EmbeddingWeights, MobileEmbeddingWeights)):
            for name in TABLES:
                if getattr(part, name) is not None:
                    changed[name] = once(getattr(part, name), table)
        return replace(part, **changed)

    def head(part: MaskedLMWeights) -> MaskedLMWeights:
        return replace(part, vocab_transform=parts(part.vocab_transform), vocab_projector=projector(part))

    def projector(part: MaskedLMWeights) -> AnyLinear:
        """The projection onto the vocabulary, which is the words' table as a rule."""
        words = weights.encoder.embeddings.word_embeddings
        if is_tied(part.vocab_projector, words):
            return projection(once(words, table), part)
        if part.extension is not None:
            return Linear(part.vocab_projector.weight, part.vocab_projector.bias)
        return once(part.vocab_projector, linear)

    return replace(weights, encoder=parts(weights.encoder), masked_lm=parts(weights.masked_lm))
