"""Matrix product y = x W^T + b over packed weights, in the reference's order of sums.

Each element starts from its bias and takes the totals of blocks of k one after another; each total is one chain of
fused multiply-adds over its block, k increasing from zero. `chain_length` gives the blocks. The order looks at K only:
not at the rows that travel together, the tile, the threads or the vector width, so none of them changes a bit.

The matrix on the right is packed (layout.pack): in slivers as wide as the register tile, each contiguous for a block of
k, so that it stays in the first-level cache while one tile of rows after another multiplies by it.
"""

from __future__ import annotations

from minidistil.kernels import layout
from minidistil.kernels.code.compile import kernel
from minidistil.kernels.layout import PANEL, ROW_BLOCK
from minidistil.kernels.products.tile import LANES, ROWS, SLIVER, tile
from minidistil.kernels.simd.memory import get_f32, load, set_f32, store

_MOST_ROWS = ROW_BLOCK // ROWS * ROWS  # in whole tiles
_FETCH_ALONE = 80  # rows of k that a tile which is alone fetches ahead of itself (docs/kernels.md)

chain_length = kernel(layout.chain_length)


@kernel
def row_block(rows):
    """Rows of a block: at most ROW_BLOCK, in blocks as even as whole tiles allow."""
    blocks = (rows + _MOST_ROWS - 1) // _MOST_ROWS
    return max(((rows + blocks - 1) // blocks + ROWS - 1) // ROWS * ROWS, ROWS)


@kernel
def multiply(a, lda, rows, b, columns, c, ldc, bias, k, block):
    """C[rows, columns] = bias + A[rows, k] B[k, columns] on addresses, B packed.

    B is cut as a panel is, for any number of columns that is a multiple of the vector's lanes: where they do not fill
    the last sliver, that one is narrower. Leading dimensions count elements; see `tile` for the rest.
    """
    for first in range(0, k, block):
        part, length = b + first * columns * 4, min(block, k - first)
        multiply_block(a + first * 4, lda, rows, part, 4, columns, c, ldc, bias, length, first, part, 0)


@kernel
def multiply_panel(a, lda, rows, panel, size, c, ldc, bias, k, block, ahead):
    """`multiply` by a panel of packed weights, of `size` bytes an element (see `tile`), maybe to come from memory.

    All tiles take a sliver of a block of k before any takes the next. Meanwhile, evenly over the tiles, the next block
    is fetched: of this panel, and at its end from `ahead`, the address of the panel that is probably needed next, or 0.
    A tile that is alone waits for its own panel, and fetches that.
    """
    tiles = (rows + ROWS - 1) // ROWS * (PANEL // SLIVER)
    for first in range(0, k, block):
        part, length = panel + first * PANEL * size, min(block, k - first)
        fetch = part + length * PANEL * size if first + length < k else ahead
        step = (PANEL * size + tiles - 1) // tiles
        if tiles == 1:
            fetch = part + _FETCH_ALONE * PANEL * size
        elif fetch == 0:
            fetch, step = part, 0
        multiply_block(a + first * 4, lda, rows, part, size, PANEL, c, ldc, bias, length, first, fetch, step)


@kernel
def multiply_block(a, lda, rows, b, size, columns, c, ldc, bias, length, first, fetch, step):
    """A block of k, sliver by sliver; each tile fetches `step` bytes a k, from where the one before it ended.

    `first` is where the block begins: from 0 on C is overwritten, otherwise added to.
    """
    for n in range(0, columns, SLIVER):
        width = min(SLIVER, columns - n)
        sliver, bias_n = b + n * length * size, bias + n * 4 if bias != 0 else 0
        for m in range(0, rows, ROWS):
            row_a, row_c = a + m * lda * 4, c + (m * ldc + n) * 4
            tile(
                min(ROWS, rows - m), width // LANES, size, row_a, lda, sliver, row_c, ldc, bias_n, length, length,
                first, fetch, step,
            )  # fmt: skip
            fetch += length * step


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
