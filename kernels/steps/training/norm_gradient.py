"""The gradients of LayerNorm's weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class NormGradient(NamedTuple):
    """gain += sum over rows of (dy + more) x^; shift += sum of (dy + more), in the order of column_sums.py.

    dy, more, x: float32 [rows, n], as layer_norm_backward.py has them. gain, shift: addresses of float32 [n].
    """

    dy: Matrix
    more: Matrix
    x: Matrix
    moments: Number
    rows: Number
    n: int
    gain: int
    shift: int


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part

    @part
    def todo(o, member):
        pass

    return todo
