"""A matrix product of coded rows with weights in whole numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number, PackedInt8


class CodedProduct(NamedTuple):
    """out = activation(fma(float32(codes W^T - zero sums), scale of the row * scale of the column, bias)).

    x: coded rows [rows, w.k] (layout.CODES), `ld` in elements of four bytes. out: float32 [rows, w.n]; nothing is
    written beyond column w.n. activation: a number of layout.ACTIVATIONS. dot: one of layout.DOT_EXACT and so on.
    Where w has columns that are kept, their float32 stand in the rows, and add up before the activation.
    """

    x: Matrix
    w: PackedInt8
    out: Matrix
    rows: Number
    activation: int = 0
    dot: int = 0


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.layout import DOT_EXACT, DOT_PAIRS, LINEAR_ACTIVATION, PANEL
    from minidistil.kernels.products.coded import multiply_coded
    from minidistil.kernels.products.gemm import copy_rows, row_block
    from minidistil.kernels.products.tile import ROWS
    from minidistil.kernels.simd.activations import activate_rows
    from minidistil.kernels.simd.memory import get_i32
    from minidistil.kernels.steps.share import even_block
    from minidistil.kernels.steps.team import next_task

    reserves = 256  # as in a product of float32 (product.py)

    @part
    def coded_product(o, member):
        w = o.w
        words, panels = (w.k + 3) // 4, (w.n + PANEL - 1) // PANEL
        size, beside = words * PANEL * 4, w.kept_columns * PANEL * 4
        block = even_block(o.rows, row_block(o.rows), ROWS, panels, member.threads)
        blocks = (o.rows + block - 1) // block
        task = next_task(member)
        while task < blocks * panels:
            m, p = task // panels * block, task % panels
            height, width = min(block, o.rows - m), min(PANEL, w.n - p * PANEL)
            reserved = next_task(member) if o.rows <= reserves else -1
            following = reserved if reserved >= 0 else task + 1
            ahead, kept_ahead = 0, w.kept + p * beside
            if following < blocks * panels:
                ahead, kept_ahead = w.weight + following % panels * size, w.kept + following % panels * beside
            columns, out = p * PANEL * 4, o.out.address + (m * o.out.ld + p * PANEL) * 4
            target, ld = out, o.out.ld
            if width < PANEL:  # a partial panel is written elsewhere first
                target, ld = member.scratch, PANEL
            dot = DOT_EXACT if o.dot == DOT_PAIRS and get_i32(w.limited, p) == 0 else o.dot
            multiply_coded(
                dot, o.x.address + m * o.x.ld * 4, o.x.ld, height, w.weight + p * size, w.scale + columns,
                w.bias + columns, w.sums + columns, words, w.kept + p * beside, w.kept_columns, kept_ahead, target, ld,
                ahead,
            )  # fmt: skip
            task = reserved if reserved >= 0 else next_task(member)
            if o.activation != LINEAR_ACTIVATION:
                activate_rows(target, ld, height, PANEL, o.activation)
            if width < PANEL:
                copy_rows(target, ld, out, o.out.ld, height, width)

    return coded_product
