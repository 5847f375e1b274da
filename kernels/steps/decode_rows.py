"""Rows of a table in fewer bits into float32."""

from __future__ import annotations

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
