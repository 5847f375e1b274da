"""A matrix product shared out among a team: blocks of rows by panels of columns."""

from __future__ import annotations

from minidistil.kernels._compile import kernel
from minidistil.kernels._tile import LANES, ROWS
from minidistil.kernels.activations import activate_rows
from minidistil.kernels.gemm import chain_length, copy_rows, multiply_panel
from minidistil.kernels.layout import LINEAR_ACTIVATION, PANEL, ROW_BLOCK
from minidistil.kernels.memory import load, load_first, store_first
from minidistil.kernels.simd import first_lanes
from minidistil.kernels.team import next_task

# Up to so many rows, reading a panel from memory takes about as long as multiplying by it. Where panels are fetched
# ahead (`multiply_panel`), a thread then draws its next task before it begins with one, to know which panel is next.
_RESERVES = 32 if LANES < 16 else 0

_MOST_ROWS = ROW_BLOCK // ROWS * ROWS  # in whole tiles


@kernel
def row_block(rows):
    """Rows of a block: at most ROW_BLOCK, in blocks as even as whole tiles allow."""
    blocks = (rows + _MOST_ROWS - 1) // _MOST_ROWS
    return max(((rows + blocks - 1) // blocks + ROWS - 1) // ROWS * ROWS, ROWS)


@kernel
def product(x, ldx, rows, weight, bias, k, first_panel, end_panel, out, ld_out, activation, team, phase):
    """out[:, panels] = activation(x W^T + bias) for panels first_panel to end_panel, every array by its address.

    Args:
        x: float32 [rows, k], rows `ldx` apart.
        weight: packed W (gemm.py); bias: float32, padded to whole panels.
        out: float32 [rows, ld_out], written in whole panels.
        activation: a number of layout.ACTIVATIONS, applied while a block's panel is in the cache.
        team, phase: where tasks are drawn (team.py).
    """
    block, chain = row_block(rows), chain_length(k)
    blocks, count = (rows + block - 1) // block, end_panel - first_panel
    task = next_task(team, phase)
    while task < blocks * count:
        m, p = task // count * block, first_panel + task % count
        height, target = min(block, rows - m), out + (m * ld_out + p * PANEL) * 4
        reserved = next_task(team, phase) if rows <= _RESERVES else -1
        following = reserved if reserved >= 0 else task + 1
        ahead = weight + (first_panel + following % count) * k * PANEL * 4 if following < blocks * count else 0
        panel, panel_bias = weight + p * k * PANEL * 4, bias + p * PANEL * 4
        multiply_panel(x + m * ldx * 4, ldx, height, panel, target, ld_out, panel_bias, k, chain, ahead)
        task = reserved if reserved >= 0 else next_task(team, phase)
        if activation != LINEAR_ACTIVATION:
            activate_rows(target, ld_out, height, PANEL, activation)


@kernel
def product_exact_width(x, ldx, rows, weight, bias, bias_last, k, n, out, scratch, team, phase):
    """out = x W^T + bias for a contiguous `out` float32 [rows, n], n any number; scratch: a block of one panel.

    With `bias_last` the bias is added to the finished sums; otherwise they start from it.
    """
    block, chain = row_block(rows), chain_length(k)
    blocks, count = (rows + block - 1) // block, (n + PANEL - 1) // PANEL
    task = next_task(team, phase)
    while task < blocks * count:
        # Panels outermost: a panel of a wide product is read once, and the rows are few.
        m, p = task % blocks * block, task // blocks
        height, width = min(block, rows - m), min(PANEL, n - p * PANEL)
        panel, own_bias, source = weight + p * k * PANEL * 4, bias + p * PANEL * 4, x + m * ldx * 4
        panel_bias = 0 if bias_last else own_bias
        target = out + (m * n + p * PANEL) * 4
        reserved = next_task(team, phase) if rows <= _RESERVES else -1
        following = reserved if reserved >= 0 else task + 1
        ahead = weight + following // blocks * k * PANEL * 4 if following < blocks * count else 0
        if width == PANEL:
            multiply_panel(source, ldx, height, panel, target, n, panel_bias, k, chain, ahead)
        else:
            multiply_panel(source, ldx, height, panel, scratch, PANEL, panel_bias, k, chain, ahead)
            copy_rows(scratch, PANEL, target, n, height, width)
        task = reserved if reserved >= 0 else next_task(team, phase)
        if bias_last:
            _add_to_rows(target, n, height, width, own_bias)


@kernel
def _add_to_rows(rows, ld, count, n, bias):
    for i in range(count):
        row = rows + i * ld * 4
        for j in range(0, n, 16):
            mask = first_lanes(n - j)
            store_first(row, j, mask, load_first(row, j, mask) + load(bias, j))
