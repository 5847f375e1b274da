"""A matrix product of coded rows with weights in whole numbers."""

from __future__ import annotations

from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number, PackedInt8


class CodedProduct(NamedTuple):
    """out = activation(fma(float32(codes W^T - zero sums), scale of the row * scale of the column, bias)).

    x: coded rows [rows, w.k] (layout.CODES), `ld` in elements of four bytes. out: float32 [rows, w.n]; nothing is
    written beyond column w.n. activation: a number of layout.ACTIVATIONS. dot: one of layout.DOT_EXACT and so on.
    """

    x: Matrix
    w: PackedInt8
    out: Matrix
    rows: Number
    activation: int = 0
    dot: int = 0
