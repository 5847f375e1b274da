"""What int8 costs: of each product its own error, and how far the last hidden states turn where it alone is int8."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.backends.reference.operations import Operations
from minidistil.quantization.watching import Watching, last_hidden
from minidistil.weights.changing import changed
from minidistil.weights.config import Config
from minidistil.weights.model_weights import ModelWeights, whole
from minidistil.weights.narrow import Int8Linear
from minidistil.weights.quantizing import products, tables

_ROWS = 256  # of an input that its product's error is measured on


class Cosines(NamedTuple):
    """Of tokens' last hidden states, to those in float32: the mean, and the least of a token."""

    mean: float
    least: float


class Cost(NamedTuple):
    """Of a product or a table.

    Attributes:
        error: of what it makes, relative: root of the sum of squares, by that of the float32 result.
        cosines: of the model where it alone is int8; None of the products of the vocabulary, which come behind.
    """

    error: float
    cosines: Cosines | None


class Costs(NamedTuple):
    """Of a model: as it is, and by the names of products and tables."""

    whole: Cosines
    parts: Mapping[str, Cost]


def measured(
    config: Config,
    weights: ModelWeights,
    made: ModelWeights,
    ops: Operations,
    batches: Sequence[PackedBatch],
    done: Callable[[str], None] = lambda name: None,
) -> Costs:
    """Compare a model with its int8.

    Args:
        config: the model's.
        weights: float32.
        made: int8 of the same, nothing else changed.
        ops: of `watching.operations`.
        batches: texts.
        done: called with the name of what was measured.
    """
    inputs: dict[str, list[np.ndarray]] = {}

    def seen(name: str, x: np.ndarray) -> None:
        inputs.setdefault(name, []).append(x[:: max(1, len(x) * len(batches) // _ROWS)].copy())

    expected = [last_hidden(config, weights, Watching(ops, weights, seen), batch) for batch in batches]

    def cosines(of: ModelWeights) -> Cosines:
        return _cosines(expected, [last_hidden(config, of, ops, batch) for batch in batches])

    parts = {}
    for before, after in zip(products(weights), products(made), strict=True):
        if not isinstance(after.linears[0], Int8Linear):
            continue
        new = {id(w): one for w, one in zip(before.linears, after.linears, strict=True)}
        x = np.concatenate(inputs[before.name])
        results = [(ops.linear(x, w), ops.linear(x, new[id(w)])) for w in before.linears]
        error = _relative([y for y, _ in results], [y for _, y in results])
        if before.name.startswith("vocab_"):
            parts[before.name] = Cost(error, None)
        else:
            alone = changed(weights, lambda w, new=new: new.get(id(w), w), lambda table: table)  # type: ignore[misc]
            parts[before.name] = Cost(error, cosines(alone))
        done(before.name)
    narrow = tables(made)
    for name, table in tables(weights).items():
        if isinstance(narrow[name], np.ndarray):
            continue
        other = changed(weights, lambda w: w, lambda x, old=table, new=narrow[name]: new if x is old else x)  # type: ignore[misc]
        parts[name] = Cost(_relative([whole(table)], [whole(narrow[name])]), cosines(other))
        done(name)
    return Costs(cosines(made), parts)


def _relative(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    wrong = sum(float(np.square(a - b, dtype=np.float64).sum()) for a, b in zip(expected, found, strict=True))
    size = sum(float(np.square(a, dtype=np.float64).sum()) for a in expected)
    return (wrong / size) ** 0.5 if size else 0.0


def _cosines(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> Cosines:
    a, b = (np.concatenate(x).astype(np.float64) for x in (expected, found))
    lengths = np.sqrt(np.square(a).sum(axis=1) * np.square(b).sum(axis=1))
    cosine = np.where(lengths > 0, (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1), 1.0)
    return Cosines(float(cosine.mean()), float(cosine.min()))
