"""Rows of a table in fewer bits into float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class DecodeRows(NamedTuple):
    """out[i] = float32 of row ids[i] of a table [V, n], all zeros where ids[i] < 0.

    out: float32 [rows, n]. table: by its address, contiguous: int8, each row with its scale (float32 [V]); or bits of
    bfloat16 where `scale` is 0. ids: int32 [rows] by address.
    """

    out: Matrix
    table: int
    scale: int
    ids: Number
    rows: Number
    n: int


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.simd.coding import decode_row
    from minidistil.kernels.simd.memory import get_i32
    from minidistil.kernels.steps.share import next_rows

    most_rows = 4

    @part
    def decode_rows(o, member):
        while True:
            first, end = next_rows(member, o.rows, most_rows)
            if first >= end:
                break
            for i in range(first, end):
                out = o.out.address + i * o.out.ld * 4
                decode_row(o.table, o.scale, get_i32(o.ids, i), o.n, out)

    return decode_rows
