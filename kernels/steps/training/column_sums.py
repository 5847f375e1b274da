"""Sums over tokens: the gradient of a bias."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class ColumnSums(NamedTuple):
    """out += the sum of x's rows: totals of blocks of chain_length(rows) rows, each from zero, added one after another.

    x: float32 [rows, n]. out: address of float32 [n].
    """

    x: Matrix
    rows: Number
    n: int
    out: int


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part

    @part
    def todo(o, member):
        pass

    return todo
