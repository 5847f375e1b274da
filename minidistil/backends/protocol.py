"""What the models ask of a backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.weights.model_weights import Linear, Norm


@dataclass(frozen=True)
class Encoded:
    """What the encoder made of a packed batch.

    Attributes:
        last: float32 [T, D] after the last layer, or [R, D] where R rows were asked for.
        hidden_states: L + 1 arrays float32 [T, D] (the first after the embedding LayerNorm), or None.
        attentions: per layer, per sentence of n tokens, probabilities float32 [H, n, n]; or None.
    """

    last: np.ndarray
    hidden_states: tuple[np.ndarray, ...] | None = None
    attentions: tuple[tuple[np.ndarray, ...], ...] | None = None


def as_rows(x: np.ndarray, width: int) -> np.ndarray:
    """x as float32 [M, width], contiguous; a ValueError where it has another shape."""
    rows = np.ascontiguousarray(x, np.float32)
    if rows.ndim != 2 or rows.shape[1] != width:
        raise ValueError(f"expected rows of {width} floats, [M, {width}], got shape {list(np.shape(x))}")
    return rows


def as_columns(vectors: np.ndarray) -> Linear:
    """Vectors float32 [N, K] as what `linear` multiplies by: 12 or more, as few are summed in orders of their own."""
    padded = np.zeros((max(len(vectors), 12), vectors.shape[1]), np.float32)
    padded[: len(vectors)] = vectors
    return Linear(padded, np.zeros(len(padded), np.float32))


class Backend(Protocol):
    """Runs the arithmetic of a model: the compiled engine, or the readable reference."""

    def encode(
        self,
        batch: PackedBatch,
        *,
        hidden_states: bool = False,
        attentions: bool = False,
        rows: np.ndarray | None = None,
    ) -> Encoded:
        """Run the encoder; `rows` (int64 [R], indices into the T tokens) limits what is wanted of the last layer."""
        ...

    def masked_lm(self, hidden: np.ndarray) -> np.ndarray:
        """Logits float32 [R, V] of the masked-language-model head for hidden states float32 [R, D]."""
        ...

    # What heads are made of (models/heads.py). No result depends on the rows that travel together, but in `blas`.

    def linear(self, x: np.ndarray, w: Linear) -> np.ndarray:
        """x W^T + b: float32 [M, K] -> [M, N], the exact rule of the product."""
        ...

    def products(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """x y^T of vectors: float32 [M, K], [N, K] -> [M, N]; each value by its two vectors alone, but in `blas`."""
        ...

    def activation(self, name: str, x: np.ndarray) -> np.ndarray:
        """An activation by its name in config.json: float32, any shape.

        Raises:
            ValueError: no such activation.
        """
        ...

    def layer_norm(self, x: np.ndarray, w: Norm) -> np.ndarray:
        """(x - mean) / sqrt(var + eps) * gamma + beta over the last axis: float32 [M, D] -> [M, D]."""
        ...
