"""Matrix product y = x W^T + b over packed weights, in the reference's order of sums.

Each element starts from its bias and takes the totals of blocks of k one after another; each total is one chain of
fused multiply-adds over its block, k increasing from zero. `chain_length` gives the blocks. The order looks at K only:
not at the rows that travel together, the tile, the threads or the vector width, so none of them changes a bit.

Weights are packed once into panels of PANEL columns (layout.pack).
"""

from __future__ import annotations

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.layout import PANEL, ROW_BLOCK
from minidistil.kernels.products.tile import LANES, ROWS, VECTORS, tile
from minidistil.kernels.simd.memory import get_f32, load, set_f32, store

_MOST_ROWS = ROW_BLOCK // ROWS * ROWS  # in whole tiles


@kernel
def chain_length(k):
    """Length of one chain of fused multiply-adds in a sum of length k: k up to 192, half of it below 384, then 192.

    What the chains leave over (the last of an odd k between, the remainder after 192s) is one more, shorter, chain.
    """
    if k <= 192:
        return k
    if k < 384:
        return k // 2
    return 192


@kernel
def row_block(rows):
    """Rows of a block: at most ROW_BLOCK, in blocks as even as whole tiles allow."""
    blocks = (rows + _MOST_ROWS - 1) // _MOST_ROWS
    return max(((rows + blocks - 1) // blocks + ROWS - 1) // ROWS * ROWS, ROWS)


@kernel
def multiply(a, lda, rows, b, ldb, width, c, ldc, bias, k, block):
    """C[rows, width] = bias + A[rows, k] B[k, width] on addresses, tile by tile.

    `width` is a multiple of the vector's lanes; leading dimensions count elements; see `tile` for the rest.
    """
    for n in range(0, width, VECTORS * LANES):
        vectors = min(VECTORS, (width - n) // LANES)
        bias_n = bias + n * 4 if bias != 0 else 0
        for m in range(0, rows, ROWS):
            row_c = c + (m * ldc + n) * 4
            row_a = a + m * lda * 4
            tile(min(ROWS, rows - m), vectors, row_a, lda, b + n * 4, ldb, row_c, ldc, bias_n, k, block, 0, row_a, 0)


@kernel
def multiply_panel(a, lda, rows, panel, c, ldc, bias, k, block, ahead):
    """`multiply` by a whole panel of packed weights, which may have to come from memory.

    A tile of 512-bit vectors is large enough to read the panel once and again for every tile, and fetches it ahead by
    itself. With shorter vectors all tiles take a block of k, which then lies in the first-level cache, before any takes
    the next; and meanwhile, evenly over the tiles, the next block is fetched: of this panel, and at its end from
    `ahead`, the address of the panel that is probably needed next, or 0.
    """
    if LANES == 16:
        multiply(a, lda, rows, panel, PANEL, PANEL, c, ldc, bias, k, block)
        return
    tiles = (rows + ROWS - 1) // ROWS * ((PANEL + VECTORS * LANES - 1) // (VECTORS * LANES))
    for first in range(0, k, block):
        end = min(first + block, k)
        fetch = panel + end * PANEL * 4 if end < k else ahead
        step = PANEL * 4 // tiles
        if fetch == 0:
            fetch, step = panel, 0
        for n in range(0, PANEL, VECTORS * LANES):
            vectors = min(VECTORS, (PANEL - n) // LANES)
            b, bias_n = panel + (first * PANEL + n) * 4, bias + n * 4 if bias != 0 else 0
            for m in range(0, rows, ROWS):
                row_a, row_c = a + (m * lda + first) * 4, c + (m * ldc + n) * 4
                tile(
                    min(ROWS, rows - m), vectors, row_a, lda, b, PANEL, row_c, ldc, bias_n, end - first, block,
                    first, fetch, step,
                )  # fmt: skip
                fetch += (end - first) * step


@kernel
def copy_rows(source, ld_source, target, ld_target, rows, columns):
    """Copy float32 [rows, columns] from address to address; nothing beyond the columns is read or written."""
    for i in range(rows):
        s, t = source + i * ld_source * 4, target + i * ld_target * 4
        whole = columns - columns % 16
        for j in range(0, whole, 16):
            store(t, j, load(s, j))
        for j in range(whole, columns):
            set_f32(t, j, get_f32(s, j))


@kernel
def add_to_rows(x, ld, rows, y):
    """Add float32 [PANEL] to every row of float32 [rows, PANEL], rows `ld` apart, all by address."""
    for i in range(rows):
        row = x + i * ld * 4
        for j in range(0, PANEL, 16):
            store(row, j, load(row, j) + load(y, j))
