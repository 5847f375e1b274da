"""A matrix turned over: what a weight gradient multiplies by (weight_gradient.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class Transpose(NamedTuple):
    """out = x^T.

    x: float32 [rows, n]. out: address of float32 [n, rows], its rows `ld` elements apart.
    """

    x: Matrix
    rows: Number
    n: int
    out: Number
    ld: Number


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part

    @part
    def todo(o, member):
        pass

    return todo
