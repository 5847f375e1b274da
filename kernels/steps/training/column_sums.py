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
    from minidistil.kernels.products.gemm import chain_length
    from minidistil.kernels.simd.columns import GROUP, add_columns
    from minidistil.kernels.steps.team import next_task

    @part
    def column_sums(o, member):
        while True:
            j = next_task(member) * GROUP
            if j >= o.n:
                break
            x, width = o.x.address + j * 4, min(GROUP, o.n - j)
            add_columns(x, o.x.ld, o.rows, width, o.out + j * 4, chain_length(o.rows))

    return column_sums
