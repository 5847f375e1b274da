"""Matrix product of coded rows with packed weights in whole numbers, in the arithmetic of reference/int8.py.

Sums are exact, so their order and the instructions that make them are free, and K is not cut: a column of accumulators
goes through all of k, and nothing but results is written.
"""

from __future__ import annotations

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.layout import PANEL
from minidistil.kernels.products.int8_tile import COLUMNS, ROWS, int8_tile

_FETCH_ALONE = 80  # groups of k that a tile which is alone fetches ahead of itself


@kernel
def multiply_coded(
    dot, x, ld, rows, panel, scale, bias, sums, words, kept, kept_columns, kept_ahead, out, ld_out, ahead
):
    """out[rows, PANEL] = the product of coded rows with one panel, all by address; see `int8_tile` for most of it.

    All tiles take a sliver of the panel before any takes the next. Meanwhile, evenly over the tiles, the panel at
    `ahead`, which is probably needed next, is fetched; or nothing where that is 0. A tile that is alone waits for its
    own panel, and fetches that. Columns that are kept are fetched from `kept_ahead` in every case.
    """
    high, wide = ROWS[dot], COLUMNS[dot]
    tiles = (rows + high - 1) // high * (PANEL // wide)
    step = (PANEL * 4 + tiles - 1) // tiles
    if tiles == 1:
        ahead = panel + _FETCH_ALONE * PANEL * 4
    elif ahead == 0:
        ahead, step = panel, 0
    for n in range(0, PANEL, wide):
        for m in range(0, rows, high):
            int8_tile(
                dot, min(high, rows - m), x + m * ld * 4, ld, panel + n * 4, out + (m * ld_out + n) * 4, ld_out, words,
                scale + n * 4, bias + n * 4, sums + n * 4, kept + n * 4, kept_columns, kept_ahead + n * 4,
                ahead, step,
            )  # fmt: skip
            ahead += words * step
