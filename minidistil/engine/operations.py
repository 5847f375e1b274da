"""The single operations that heads are made of, on the compiled kernels."""

from __future__ import annotations

import numpy as np

from minidistil.kernels import gelu, gemm, layer_norm
from minidistil.weights.model_weights import Linear, Norm
from minidistil.weights.packing import aligned_zeros


class Operations:
    """`linear`, `activation` and `layer_norm` of a backend; see `minidistil.backend.Backend`.

    They run on the caller's thread, without the GIL, and share no memory that is written: callers run side by side.
    """

    def __init__(self) -> None:
        # By the identity of the Linear, which is kept, so that no other can come to have it.
        self._products: dict[int, tuple[Linear, np.ndarray, np.ndarray]] = {}

    def linear(self, x: np.ndarray, w: Linear) -> np.ndarray:
        """x W^T + b: float32 [M, K] -> [M, N]; W is packed on first use and kept."""
        _, weight, bias = self._products.get(id(w)) or self._products.setdefault(id(w), _pack(w))
        out = np.empty((len(x), len(bias)), np.float32)
        gemm.linear(_floats(x), weight, bias, out)
        return np.ascontiguousarray(out[:, : len(w.bias)])

    def activation(self, name: str, x: np.ndarray) -> np.ndarray:
        """An activation by its name in config.json: float32, any shape."""
        x = _floats(x)
        if name == "gelu":
            out = np.empty_like(x)
            gelu.gelu(x.reshape(-1), out.reshape(-1))
            return out
        if name == "relu":
            return np.maximum(x, np.float32(0))
        if name == "tanh":
            return np.tanh(x.astype(np.float64)).astype(np.float32)
        raise ValueError(f"the engine has no activation {name!r}")

    def layer_norm(self, x: np.ndarray, w: Norm) -> np.ndarray:
        """(x - mean) / sqrt(var + eps) * gamma + beta over the last axis: float32 [M, D] -> [M, D]."""
        x = _floats(x)
        out = np.empty_like(x)
        layer_norm.layer_norm(x, _floats(w.weight), _floats(w.bias), np.float32(w.eps), out)
        return out


def _pack(w: Linear) -> tuple[Linear, np.ndarray, np.ndarray]:
    panels, k = gemm.panels(len(w.bias)), w.weight.shape[1]
    weight = aligned_zeros(panels * k * gemm.PANEL).reshape(panels, k, gemm.PANEL)
    gemm.pack(w.weight, weight)
    bias = aligned_zeros(panels * gemm.PANEL)
    bias[: len(w.bias)] = w.bias
    return w, weight, bias


def _floats(x: np.ndarray) -> np.ndarray:
    """float32, contiguous, and writable: a read-only array would be another type, and a kernel compiled once more."""
    return np.require(x, np.float32, ["C", "W"])
