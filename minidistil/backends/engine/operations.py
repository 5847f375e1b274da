"""The single operations that heads are made of, on the compiled kernels."""

from __future__ import annotations

import numpy as np

from minidistil._float_mode import default_mode
from minidistil.backends.protocol import as_columns, as_rows
from minidistil.kernels import layout
from minidistil.kernels.code import target
from minidistil.kernels.layout import address
from minidistil.kernels.steps.activate import Activate
from minidistil.kernels.steps.narrow_product import NARROW, NarrowProduct
from minidistil.kernels.steps.product import Product
from minidistil.kernels.steps.sum_rows import LAYER_NORM, SumRows
from minidistil.kernels.steps.table import Matrix, Packed, Rows
from minidistil.kernels.steps.take import take
from minidistil.weights.model_weights import Linear, Norm
from minidistil.weights.packing import aligned_zeros


class Operations:
    """`linear`, `activation` and `layer_norm` of a backend; see `minidistil.backends.protocol.Backend`.

    They run on the caller's thread, without the GIL, and share no memory that is written: callers run side by side.
    """

    def __init__(self) -> None:
        # By the identity of the Linear, which is kept, so that no other can come to have it.
        self._products: dict[int, tuple[Linear, np.ndarray, np.ndarray]] = {}

    @default_mode()
    def linear(self, x: np.ndarray, w: Linear) -> np.ndarray:
        """x W^T + b: float32 [M, K] -> [M, N]; W is packed on first use and kept."""
        return _linear(x, self._products.get(id(w)) or self._products.setdefault(id(w), _pack(w)))

    @default_mode()
    def products(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """x y^T of vectors: float32 [M, K], [N, K] -> [M, N]; each value by its two vectors alone. Keeps nothing."""
        return _linear(x, _pack(as_columns(y)))[:, : len(y)]

    @default_mode()
    def activation(self, name: str, x: np.ndarray) -> np.ndarray:
        """An activation by its name in config.json: float32, any shape."""
        out = np.array(x, np.float32, order="C")
        if name not in layout.ACTIVATIONS:
            raise ValueError(f"there is no activation {name!r}; known are {', '.join(layout.ACTIVATIONS)}")
        take(Activate(address(out), out.size, layout.ACTIVATIONS[name]))
        return out

    @default_mode()
    def layer_norm(self, x: np.ndarray, w: Norm) -> np.ndarray:
        """(x - mean) / sqrt(var + eps) * gamma + beta over the last axis: float32 [M, D] -> [M, D]."""
        (n,) = w.weight.shape
        out = as_rows(np.array(x, np.float32, order="C"), n)
        gain, shift = (as_rows(some[None], n) for some in (w.weight, w.bias))
        own, norm = Matrix(address(out), n), (LAYER_NORM, address(gain), address(shift), float(w.eps))
        take(SumRows(own, Rows(*own, 0), Rows(0, 0, 0), Rows(0, 0, 0), len(out), n, *norm))
        return out


def _linear(x: np.ndarray, packed: tuple[Linear, np.ndarray, np.ndarray]) -> np.ndarray:
    w, weight, bias = packed
    n, k = w.weight.shape
    x = as_rows(x, k)
    out = np.empty((len(x), n), np.float32)
    product = NarrowProduct if n < NARROW else Product
    matrix = Packed(address(weight), address(bias), k, n)
    take(product(Matrix(address(x), k), matrix, Matrix(address(out), n), len(x)))
    return out


def _pack(w: Linear) -> tuple[Linear, np.ndarray, np.ndarray]:
    n, k = w.weight.shape
    if w.bias.shape != (n,):
        raise ValueError(f"a product of {n} columns has a bias of shape {list(w.bias.shape)}")
    panels = layout.panels(n)
    weight = aligned_zeros(panels * k * layout.PANEL).reshape(panels, k, layout.PANEL)
    layout.pack(w.weight, weight, target.sliver())
    bias = aligned_zeros(panels * layout.PANEL)
    bias[: len(w.bias)] = w.bias
    return w, weight, bias
