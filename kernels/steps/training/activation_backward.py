"""The backward pass of an activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class ActivationBackward(NamedTuple):
    """out = dy activation'(x), and value = activation(x), where that has an address.

    dy, x, out, value: float32 [rows, n]; out may be dy, and value x. activation: one of layout.DIFFERENTIATED.
    """

    dy: Matrix
    x: Matrix
    out: Matrix
    rows: Number
    n: int
    activation: int
    value: Matrix = Matrix(0, 0)


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.simd.derivatives import backward_row
    from minidistil.kernels.steps.share import next_rows

    most_rows = 4

    @part
    def activation_backward(o, member):
        while True:
            first, end = next_rows(member, o.rows, most_rows)
            if first >= end:
                break
            for i in range(first, end):
                value = o.value.address + i * o.value.ld * 4 if o.value.address != 0 else 0
                dy, x, out = (
                    o.dy.address + i * o.dy.ld * 4,
                    o.x.address + i * o.x.ld * 4,
                    o.out.address + i * o.out.ld * 4,
                )
                backward_row(dy, x, out, value, o.n, o.activation)

    return activation_backward
