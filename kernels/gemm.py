"""Matrix product y = x W^T + b over packed weights, in the reference's order of sums.

Each element starts from its bias and takes the totals of blocks of k one after another; each total is one chain of fused
multiply-adds over its block, k increasing from zero. `chain_length` gives the blocks. The order looks at K only: not at
the rows that travel together, the tile, the threads or the vector width, so none of them changes a bit.

Weights are packed once into panels of PANEL columns: panel p of W [N, K] is a contiguous [K, PANEL] whose column j is row
p * PANEL + j of W, zero beyond N. A panel is a whole number of tiles on every CPU (48 = 3 x 16 = 6 x 8 = 12 x 4).
"""

from __future__ import annotations

import numpy as np

from minidistil.kernels._compile import kernel
from minidistil.kernels._tile import LANES, ROWS, VECTORS, tile
from minidistil.kernels.simd import address_of, get_f32, load, set_f32, store

PANEL = 48

# Rows that share a pass over the panels: with K = 768 they take 442 KB of a core's L2 and every panel is read once for them.
ROW_BLOCK = 144


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
def multiply(a, lda, rows, b, ldb, width, c, ldc, bias, k, block):
    """C[rows, width] = bias + A[rows, k] B[k, width] on addresses, tile by tile.

    `width` is a multiple of the vector's lanes; leading dimensions count elements; see `tile` for the rest.
    """
    for n in range(0, width, VECTORS * LANES):
        vectors = min(VECTORS, (width - n) // LANES)
        bias_n = bias + n * 4 if bias != 0 else 0
        for m in range(0, rows, ROWS):
            row_c = c + (m * ldc + n) * 4
            tile(min(ROWS, rows - m), vectors, a + m * lda * 4, lda, b + n * 4, ldb, row_c, ldc, bias_n, k, block)


@kernel
def linear(x, weight, bias, out):
    """out = x W^T + bias.

    Args:
        x: float32 [M, K], contiguous.
        weight: float32 [panels, K, PANEL], W packed.
        bias: float32 [panels * PANEL].
        out: float32 [M, panels * PANEL], overwritten; columns beyond N are what the packed bias says (zero).
    """
    rows, k = x.shape
    for m in range(0, rows, ROW_BLOCK):
        for p in range(weight.shape[0]):
            multiply(
                address_of(x) + m * k * 4,
                k,
                min(ROW_BLOCK, rows - m),
                address_of(weight) + p * k * PANEL * 4,
                PANEL,
                PANEL,
                address_of(out) + (m * out.shape[1] + p * PANEL) * 4,
                out.shape[1],
                address_of(bias) + p * PANEL * 4,
                k,
                chain_length(k),
            )


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


def panels(n: int) -> int:
    """Panels that N columns take."""
    return -(-n // PANEL)


def pack(weight: np.ndarray, out: np.ndarray) -> None:
    """Pack W float32 [N, K] into `out` float32 [panels(N), K, PANEL]."""
    n, _ = weight.shape
    whole = n // PANEL
    for p in range(whole):
        out[p] = weight[p * PANEL : (p + 1) * PANEL].T
    if whole < len(out):
        out[whole] = 0
        out[whole, :, : n - whole * PANEL] = weight[whole * PANEL :].T
