"""What the model asks of its operations, which `exact.py` and `blas.py` have. Legend as in model.py."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from minidistil.weights.model_weights import AnyLinear, EmbeddingWeights, Norm


class Operations(Protocol):
    """The operations of the model; the modules `exact` and `blas` have them."""

    def embed(
        self,
        weights: EmbeddingWeights,
        input_ids: np.ndarray | None,
        position_ids: np.ndarray,
        token_type_ids: np.ndarray | None,
        inputs_embeds: np.ndarray | None,
    ) -> np.ndarray:
        """The sum of a token's embeddings: [T] -> [T, E]."""
        ...

    def linear(self, x: np.ndarray, w: AnyLinear) -> np.ndarray:
        """x W^T + b: [M, K] -> [M, N]."""
        ...

    def product(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """x w^T: [M, K] -> [M, N]."""
        ...

    def narrow(self, x: np.ndarray, w: AnyLinear) -> np.ndarray:
        """The same of few columns (NARROW), which are summed in another order: [M, K] -> [M, N]."""
        ...

    def layer_norm(self, x: np.ndarray, w: Norm) -> np.ndarray:
        """(x - mean) / sqrt(var + eps) * gamma + beta: [M, D] -> [M, D]."""
        ...

    def activation(self, name: str, x: np.ndarray) -> np.ndarray:
        """The activation that config.json calls `name`, such as gelu, x/2 (1 + erf(x / sqrt 2)): any shape."""
        ...

    def attention(
        self, q: np.ndarray, k: np.ndarray, v: np.ndarray, bias: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """softmax(q k^T / sqrt(d) + bias) v: [n, H, d] three times -> [n, H, d], and the softmax [H, n, n]."""
        ...
