"""The backward pass of LayerNorm: the gradient of its input."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class LayerNormBackward(NamedTuple):
    """out = (g - mean(g) - x^ mean(g x^)) rstd, where g = (dy + more) gain and x^ = (x - mean) rstd.

    dy, more, x, out: float32 [rows, n]; `more` has the address 0 where there is no second gradient; out may be dy.
    moments: address of float32 [rows, 2], of layer_norm.py. gain: float32 [n].
    """

    dy: Matrix
    more: Matrix
    x: Matrix
    out: Matrix
    moments: Number
    rows: Number
    n: int
    gain: int


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part

    @part
    def todo(o, member):
        pass

    return todo
