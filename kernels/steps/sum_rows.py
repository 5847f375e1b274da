"""Rows of up to three arrays, summed and normalized: embeddings, residuals, and all that is only moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Coding, Matrix, Number, Rows

NO_NORM, GAIN_SHIFT, LAYER_NORM = range(3)


class SumRows(NamedTuple):
    """out = norm((a + b) + c), one rounding each, and its codes; out may be one of the three.

    out: float32 [rows, n]. a, b, c: float32 [rows, n]; rows that are not there are zero. norm: NO_NORM; GAIN_SHIFT, y =
    x gain + shift; or LAYER_NORM, of gain and shift too (float32 [n]), with `eps` added to the variance. coded: what
    `CodeRows` would make of out and `coding`, coded rows; none where its address is 0.
    """

    out: Matrix
    a: Rows
    b: Rows
    c: Rows
    rows: Number
    n: int
    norm: int = NO_NORM
    gain: int = 0
    shift: int = 0
    eps: float = 0.0
    coded: Matrix = Matrix(0, 0)
    coding: Coding = Coding()


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.simd.coding import code_row
    from minidistil.kernels.simd.layer_norm import normalize_row
    from minidistil.kernels.simd.memory import get_i32
    from minidistil.kernels.simd.rows import sum_row
    from minidistil.kernels.steps.share import next_rows

    most_rows = 4

    @part
    def row_of(x, i):
        if x.address == 0:
            return 0
        row = i
        if x.ids != 0:
            row = get_i32(x.ids, i)
        return x.address + row * x.ld * 4 if row >= 0 else 0

    @part
    def sum_rows(o, member):
        own = o.coding
        while True:
            first, end = next_rows(member, o.rows, most_rows)
            if first >= end:
                break
            for i in range(first, end):
                out = o.out.address + i * o.out.ld * 4
                gain = o.gain if o.norm == GAIN_SHIFT else 0
                sum_row(row_of(o.a, i), row_of(o.b, i), row_of(o.c, i), o.n, gain, o.shift, out)
                if o.norm == LAYER_NORM:
                    normalize_row(out, out, o.n, o.gain, o.shift, o.eps, member.scratch)
                if o.coded.address != 0:
                    coded = o.coded.address + i * o.coded.ld * 4
                    code_row(out, o.n, own.smooth, own.columns, own.kept_columns, coded)

    return sum_rows
