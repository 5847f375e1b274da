"""Sums of squares, of which the norm of all gradients is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Number


class SumSquares(NamedTuple):
    """out[i] = the sum of squares of x's elements i CHUNK to (i + 1) CHUNK; x: float32 [n]; out: float32 [ceil(n / CHUNK)].
    """

    x: int
    n: int
    out: Number


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part

    @part
    def todo(o, member):
        pass

    return todo
