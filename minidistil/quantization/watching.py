"""Operations over others that are told to whom each product's input goes: to see how far it reaches, or to keep it.

What computes has the bits of `exact`: so a range is the same number on every CPU, and so is what is made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from minidistil._float_mode import default_mode
from minidistil._loading import loading
from minidistil.backends.batch import PackedBatch
from minidistil.backends.reference import Reference, exact
from minidistil.backends.reference.operations import Operations
from minidistil.weights.config import Config
from minidistil.weights.model_weights import AnyLinear, ModelWeights
from minidistil.weights.narrow import Int8Linear
from minidistil.weights.quantizing import products

_VOCABULARY_ROWS = 16  # of a batch, whose words are scored where a model does that: each takes a pass over all words

Seen = Callable[[str, np.ndarray], None]
"""Told the name of a product and its input float32 [M, K]."""


def operations(backend: str | None = None) -> Operations:
    """What passes are computed with: the engine's operations, or `exact`'s for "exact", which are slow.

    Raises:
        RuntimeError: the engine cannot run here.
    """
    if backend == "exact":
        return exact
    with loading():
        from minidistil.backends.engine import EngineUnavailable
        from minidistil.backends.engine.operations import Operations as Engine
        from minidistil.kernels.code import native
    try:
        native.entry("run")
    except EngineUnavailable as error:
        raise RuntimeError(
            f'the compiled engine cannot run here ({error}); backend="exact" has the same bits, and takes hundreds of '
            "times as long"
        ) from None
    return _Compiled(Engine())


class _Compiled:
    """The engine's products, norms and activations, and the reference's attention: the same bits in less time."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.narrow = engine.linear
        self.layer_norm = engine.layer_norm
        self.activation = engine.activation
        self.embed = exact.embed
        self.product = exact.product
        self.attention = exact.attention

    def linear(self, x: np.ndarray, w: AnyLinear) -> np.ndarray:
        """x W^T + b: [M, K] -> [M, N]."""
        return exact.linear(x, w) if isinstance(w, Int8Linear) else self._engine.linear(x, w)


class Watching:
    """Operations that tell of each product's input.

    Args:
        ops: what computes.
        weights: of the model.
        seen: is told.
    """

    def __init__(self, ops: Operations, weights: ModelWeights, seen: Seen) -> None:
        self._ops, self._seen = ops, seen
        self._names = {id(w): product.name for product in products(weights) for w in product.linears[:1]}
        self.embed = ops.embed
        self.narrow = ops.narrow
        self.product = ops.product
        self.layer_norm = ops.layer_norm
        self.activation = ops.activation
        self.attention = ops.attention

    def linear(self, x: np.ndarray, w: AnyLinear) -> np.ndarray:
        """x W^T + b: [M, K] -> [M, N]."""
        if id(w) in self._names:
            self._seen(self._names[id(w)], x)
        return self._ops.linear(x, w)


@default_mode()
def last_hidden(config: Config, weights: ModelWeights, ops: Operations, batch: PackedBatch) -> np.ndarray:
    """The last hidden states of a batch, float32 [T, D]; some of them go through the head of masked words too."""
    reference = Reference(config, weights, ops)
    last = reference.encode(batch).last
    if weights.masked_lm is not None and isinstance(ops, Watching):
        reference.masked_lm(last[np.arange(0, len(last), -(-len(last) // _VOCABULARY_ROWS))])
    return last


def ranges(
    config: Config,
    weights: ModelWeights,
    ops: Operations,
    batches: Iterable[PackedBatch],
    done: Callable[[PackedBatch], None] = lambda batch: None,
) -> Mapping[str, np.ndarray]:
    """The greatest magnitude in each column of each product's input, by the product's name: float32 [K].

    Args:
        config, weights: of the model, float32.
        ops: of `operations`.
        batches: texts.
        done: called after each batch.
    """
    found: dict[str, np.ndarray] = {}

    def seen(name: str, x: np.ndarray) -> None:
        most = np.abs(x).max(axis=0)
        found[name] = np.maximum(found.get(name, most), most)

    for batch in batches:
        last_hidden(config, weights, Watching(ops, weights, seen), batch)
        done(batch)
    return found
