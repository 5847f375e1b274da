"""The precisions that a model's weights can have, and a model in another one than its file has.

What changes is what most of the bytes are: the products of the encoder and of the vocabulary, and the tables of
embeddings. Norms, biases and the other heads stay float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from minidistil.weights._storage import release_pages
from minidistil.weights.model_weights import (
    AnyLinear,
    EmbeddingWeights,
    Linear,
    MaskedLMWeights,
    MobileEmbeddingWeights,
    ModelWeights,
    Table,
    is_tied,
    projection,
    whole,
)
from minidistil.weights.narrow import BFloat16Linear, Int8Linear, NarrowTable, rounded
from minidistil.weights.quantization_config import KEY
from minidistil.weights.quantizing import quantized

Precision = Literal["float32", "bfloat16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

TABLES = ("word_embeddings", "position_embeddings", "token_type_embeddings")
_LINEARS = (Linear, BFloat16Linear, Int8Linear)


def precision_of(weights: ModelWeights) -> Precision:
    """That of a model: int8 where any of its products or tables is."""
    found: set[Precision] = set()

    def linear(w: AnyLinear) -> AnyLinear:
        found.add("int8" if isinstance(w, Int8Linear) else "bfloat16" if isinstance(w, BFloat16Linear) else "float32")
        return w

    def table(x: Table) -> Table:
        found.add("float32" if isinstance(x, np.ndarray) else "bfloat16" if x.scale is None else "int8")
        return x

    changed(weights, linear, table)
    return "int8" if "int8" in found else "bfloat16" if "bfloat16" in found else "float32"


def in_precision(weights: ModelWeights, precision: str | None) -> ModelWeights:
    """The same model in a precision; None for the one that it has.

    Raises:
        ValueError: no such precision, or one that such a model cannot have.
    """
    check_precision(precision)
    found = precision_of(weights)
    if precision is None or precision == found != "bfloat16":
        return weights
    if precision == "bfloat16":  # also of a model that is partly so: others are rounded
        return changed(weights, _bfloat16, _bfloat16_table)
    if found != "float32":
        weights = changed(weights, lambda w: Linear(w.weight, w.bias), whole)
    return quantized(weights) if precision == "int8" else weights


def stored_precision(config: Mapping[str, Any]) -> Precision:
    """The precision that a model has where none is asked for: int8 where its config.json says so, else float32."""
    return "float32" if config.get(KEY) is None else "int8"


def check_precision(precision: str | None) -> None:
    """Refuse a precision that there is not (ValueError); None is none."""
    if precision is not None and not (isinstance(precision, str) and precision in PRECISIONS):
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")


def require_float32(weights: ModelWeights, whose: str, use: str) -> None:
    """Refuse weights in fewer bits where float32 itself is needed: to be changed, or to be written.

    Args:
        weights: of a model.
        whose: what the message calls it.
        use: what needs float32.

    Raises:
        ValueError: says what to take in their place.
    """
    found = precision_of(weights)
    if found != "float32":
        raise ValueError(
            f"{whose} has {found} weights, and {use} needs float32: take the checkpoint that they were made of"
        )


def _bfloat16(w: AnyLinear) -> BFloat16Linear:
    return w if isinstance(w, BFloat16Linear) else BFloat16Linear(_rounded(w.weight), w.bias)


def _bfloat16_table(table: Table) -> NarrowTable:
    if isinstance(table, NarrowTable) and table.scale is None:
        return table
    return NarrowTable(_rounded(whole(table)))


def _rounded(x: np.ndarray) -> np.ndarray:
    bits = rounded(x)
    release_pages(x)  # or the whole file would stay in memory beside what is made of it
    return bits


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
        values = {field.name: parts(getattr(part, field.name)) for field in fields(part)}
        if isinstance(part, (EmbeddingWeights, MobileEmbeddingWeights)):
            for name in TABLES:
                if getattr(part, name) is not None:
                    values[name] = once(getattr(part, name), table)
        return replace(part, **values)

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
