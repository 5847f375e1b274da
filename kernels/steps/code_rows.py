"""Rows of float32 into coded rows: what a product of whole numbers takes."""

from __future__ import annotations

from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class CodeRows(NamedTuple):
    """out = codes of x * smooth, row by row (reference/int8.py).

    x: float32 [rows, k]. out: coded rows (layout.CODES), `ld` in elements of four bytes; codes from k to the next
    multiple of four are written too, as zeros. smooth: float32 [k] by address, or 0.
    """

    x: Matrix
    out: Matrix
    rows: Number
    k: int
    smooth: int = 0
