"""Rows of float32 into coded rows: what a product of whole numbers takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Coding, Matrix, Number


class CodeRows(NamedTuple):
    """out = codes of x * smooth, row by row (reference/int8.py).

    x: float32 [rows, k]. out: coded rows (layout.CODES), `ld` in elements of four bytes; codes from k to the next
    multiple of four are written too, as zeros, and x itself behind them in the columns that are kept. coding: what
    smooth is, and which these are.
    """

    x: Matrix
    out: Matrix
    rows: Number
    k: int
    coding: Coding = Coding()


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.simd.coding import code_row
    from minidistil.kernels.steps.share import next_rows

    most_rows = 4

    @part
    def code_rows(o, member):
        own = o.coding
        while True:
            first, end = next_rows(member, o.rows, most_rows)
            if first >= end:
                break
            for i in range(first, end):
                x, out = o.x.address + i * o.x.ld * 4, o.out.address + i * o.out.ld * 4
                code_row(x, o.k, own.smooth, own.columns, own.kept_columns, out)

    return code_rows
