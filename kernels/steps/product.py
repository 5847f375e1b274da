"""A matrix product shared out among a team: blocks of rows by panels of columns, never slices of a sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number, Packed


class Product(NamedTuple):
    """out = activation(x W^T + bias).

    x: float32 [rows, w.k]. w: W and its bias, of the address 0 where there is none. out: float32 [rows, w.n];
    nothing is written beyond column w.n.
    activation: a number of layout.ACTIVATIONS, applied while a block's panel is in the cache. bias_last: whether the
    bias is added to the finished sums; otherwise they start from it.
    """

    x: Matrix
    w: Packed
    out: Matrix
    rows: Number
    activation: int = 0
    bias_last: int = 0


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.layout import LINEAR_ACTIVATION, PANEL
    from minidistil.kernels.products.gemm import add_to_rows, chain_length, copy_rows, multiply_panel, row_block
    from minidistil.kernels.products.tile import ROWS
    from minidistil.kernels.simd.activations import activate_rows
    from minidistil.kernels.steps.share import even_block
    from minidistil.kernels.steps.team import next_task

    # Up to so many rows a thread draws its next task before it begins with one, to know which panel it must fetch next
    # (`multiply_panel`). With more, a panel's way from memory no longer shows, and a task kept from idle threads would.
    reserves = 256

    @part
    def product(o, member):
        w, number = o.w, 2 if o.w.bf16 != 0 else 4  # bytes
        panels, chain, size = (w.n + PANEL - 1) // PANEL, chain_length(w.k), w.k * PANEL * number
        block = even_block(o.rows, row_block(o.rows), ROWS, panels, member.threads)
        blocks = (o.rows + block - 1) // block
        task = next_task(member)
        while task < blocks * panels:
            m, p = task // panels * block, task % panels
            height, width = min(block, o.rows - m), min(PANEL, w.n - p * PANEL)
            reserved = next_task(member) if o.rows <= reserves else -1
            following = reserved if reserved >= 0 else task + 1
            ahead = w.weight + following % panels * size if following < blocks * panels else 0
            bias, out = w.bias + p * PANEL * 4 if w.bias != 0 else 0, o.out.address + (m * o.out.ld + p * PANEL) * 4
            target, ld = out, o.out.ld
            if width < PANEL:  # a partial panel is written elsewhere first
                target, ld = member.scratch, PANEL
            x, start = o.x.address + m * o.x.ld * 4, bias if o.bias_last == 0 else 0
            multiply_panel(x, o.x.ld, height, w.weight + p * size, number, target, ld, start, w.k, chain, ahead)
            task = reserved if reserved >= 0 else next_task(member)
            if o.bias_last != 0:
                add_to_rows(target, ld, height, bias)
            if o.activation != LINEAR_ACTIVATION:
                activate_rows(target, ld, height, PANEL, o.activation)
            if width < PANEL:
                copy_rows(target, ld, out, o.out.ld, height, width)

    return product
