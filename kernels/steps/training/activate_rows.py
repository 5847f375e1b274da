"""An activation whose input is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class ActivateRows(NamedTuple):
    """out = activation(x): float32 [rows, n] both; out may be x. activation: a number of layout.ACTIVATIONS."""

    x: Matrix
    out: Matrix
    rows: Number
    n: int
    activation: int


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.simd.activations import activate_row
    from minidistil.kernels.steps.share import next_rows

    most_rows = 4

    @part
    def activate_rows(o, member):
        while True:
            first, end = next_rows(member, o.rows, most_rows)
            if first >= end:
                break
            for i in range(first, end):
                activate_row(o.x.address + i * o.x.ld * 4, o.out.address + i * o.out.ld * 4, o.n, o.activation)

    return activate_rows
