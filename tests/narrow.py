"""Models of narrow weights for tests, whose numbers no rule of quantizing decides: only the arithmetic is looked at."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from minidistil.weights.conversion import in_precision
from minidistil.weights.model_weights import (
    ClassifierWeights,
    EmbeddingWeights,
    Linear,
    MaskedLMWeights,
    MobileEmbeddingWeights,
    ModelWeights,
    is_tied,
    projection,
    whole,
)
from minidistil.weights.narrow import Int8Linear, NarrowTable

PRECISIONS = ("bfloat16", "int8")
KEEPING = "int8 with columns kept"
"""Of which products keep up to nine columns in float32."""

KINDS = (*PRECISIONS, KEEPING)
_TABLES = ("word_embeddings", "position_embeddings", "token_type_embeddings")
_TOGETHER = ("q_lin", "k_lin", "v_lin")  # made of one input, as a rule


def narrow(weights: ModelWeights, precision: str, keep: int = 0, columns: int = 0) -> ModelWeights:
    """A float32 model in a kind of narrow weights; of int8, each product of number `keep` or 2 * keep... stays float32.

    In int8 the products take turns: inputs smoothed or not; pairs limited, beyond their limit, at the ends of int8; and
    up to `columns` columns kept in float32, the first and the last or one among them, or none.
    """
    if precision not in ("int8", KEEPING):
        return in_precision(weights, precision)
    return _Whole(weights, keep, columns or 9 * (precision == KEEPING)).model()


class _Whole:
    def __init__(self, weights: ModelWeights, keep: int, columns: int) -> None:
        self._weights, self._keep, self._columns = weights, keep, columns
        self._made: dict[int, Any] = {}
        self._numbers: Iterator[int] = itertools.count()

    def model(self) -> ModelWeights:
        encoder = self._changed(self._weights.encoder)
        return replace(self._weights, encoder=encoder, masked_lm=self._changed(self._weights.masked_lm))

    def _changed(self, part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(map(self._changed, part))
        if not is_dataclass(part) or isinstance(part, (ClassifierWeights, NarrowTable)):
            return part
        if id(part) not in self._made:
            self._made[id(part)] = self._made_of(part)
        return self._made[id(part)]

    def _made_of(self, part: Any) -> Any:
        if isinstance(part, Linear):
            return self._linear(next(self._numbers), part)
        own, done = {field.name: getattr(part, field.name) for field in fields(part)}, set(_TABLES)
        together = [name for name in _TOGETHER if isinstance(own.get(name), Linear)]
        widths = {name: own[name].weight.shape[1] for name in together}
        for width in set(widths.values()):
            number = next(self._numbers)
            for name in together:
                if widths[name] == width:
                    own[name] = self._linear(number, own[name])
        if isinstance(part, MaskedLMWeights):
            words = self._weights.encoder.embeddings.word_embeddings
            tied = is_tied(part.vocab_projector, words)
            made = self._made[id(words)] if tied else self._linear(next(self._numbers), part.vocab_projector)
            own["vocab_projector"] = projection(made, part) if tied else made
            done.add("vocab_projector")
        if isinstance(part, (EmbeddingWeights, MobileEmbeddingWeights)):
            for name in _TABLES:
                if own[name] is not None:
                    self._made[id(own[name])] = own[name] = NarrowTable(*_rows(whole(own[name]), 127))
        done.update(together)
        return replace(part, **{name: x if name in done else self._changed(x) for name, x in own.items()})

    def _linear(self, number: int, w: Linear) -> Linear | Int8Linear:
        if self._keep and number % self._keep == 0:
            return w
        k = w.weight.shape[1]
        smooth = np.random.default_rng([number, k]).uniform(0.5, 2, k).astype(np.float32) if number % 3 else None
        weight, kept = w.weight if smooth is None else w.weight / smooth, None
        if (columns := self._kept_columns(number, k)).size:
            smooth = np.ones(k, np.float32) if smooth is None else smooth
            smooth[columns] = 0
            weight, kept = weight.copy(), w.weight[:, columns]
            weight[:, columns] = 0
        codes, scale = _rows(weight, (127, 64, 128)[number // 2 % 3])
        return Int8Linear(codes, scale, w.bias, smooth, kept)

    def _kept_columns(self, number: int, k: int) -> np.ndarray:
        count = min(k, self._columns, (self._columns, 0, 1, 5)[number % 4])
        columns = np.random.default_rng([number, k, 1]).choice(k, count, replace=False)
        return np.union1d(columns[2:], [0, k - 1]) if count > 1 else columns


def _rows(x: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers of at most `most`, 64 for pairs that are limited, -128 to 127; and a scale for each row."""
    scale = np.maximum(np.abs(x).max(axis=1), np.float32(1e-6)) / np.float32(most)
    return np.clip(np.rint(x / scale[:, None]), -128, 127).astype(np.int8), scale
