"""A product of few columns, which has an order of sums of its own (narrow.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number, Packed

NARROW = 12
"""From so many columns on, a product is an ordinary one."""


class NarrowProduct(NamedTuple):
    """out = x W^T + bias: x float32 [rows, w.k], w of 1 to 11 columns, never bfloat16, out float32 [rows, w.n]."""

    x: Matrix
    w: Packed
    out: Matrix
    rows: Number


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.products.narrow import multiply_narrow
    from minidistil.kernels.steps.team import next_task

    @part
    def narrow_product(o, member):
        i = next_task(member)
        while i < o.rows:
            x, out = o.x.address + i * o.x.ld * 4, o.out.address + i * o.out.ld * 4
            multiply_narrow(x, o.w.k, o.w.weight, o.w.bias, o.w.n, out)
            i = next_task(member)

    return narrow_product
