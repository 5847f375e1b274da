"""The gradient of a product's weights, a product whose sum runs over the tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class WeightGradient(NamedTuple):
    """out += dY^T X: totals of blocks of chain_length(rows) tokens, added one after another.

    dy: float32 [rows, n]. x: float32 [rows, k]. out: address of float32 [n, k], contiguous. A thread needs
    layout.GRADIENT_SCRATCH floats of scratch.
    """

    dy: Matrix
    x: Matrix
    rows: Number
    n: int
    k: int
    out: int


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.layout import GRADIENT_ROWS, PANEL
    from minidistil.kernels.products.weight_gradient import add_weight_gradient
    from minidistil.kernels.steps.share import even_block
    from minidistil.kernels.steps.team import next_task

    step, least = 16, 96  # rows that are turned over at once; and fewer than `least` do not pay for packing X

    @part
    def weight_gradient(o, member):
        # Blocks of rows of dW, and where those are too few for the team, its columns in groups of panels besides.
        panels = (o.k + PANEL - 1) // PANEL
        groups = min((member.threads * least + o.n - 1) // o.n, panels) if member.threads > 1 else 1
        width = (panels + groups - 1) // groups * PANEL
        groups = (o.k + width - 1) // width
        blocks = (o.n + GRADIENT_ROWS - 1) // GRADIENT_ROWS
        even = ((o.n + blocks - 1) // blocks + step - 1) // step * step
        height = even_block(o.n, even, step, groups, member.threads)
        while True:
            task = next_task(member)
            row, column = task // groups * height, task % groups * width
            if row >= o.n:
                break
            add_weight_gradient(
                o.dy.address + row * 4, o.dy.ld, o.x.address + column * 4, o.x.ld, o.rows,
                min(height, o.n - row), min(width, o.k - column), o.out + (row * o.k + column) * 4, o.k, member.scratch,
            )  # fmt: skip

    return weight_gradient
