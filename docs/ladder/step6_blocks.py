"""Step 6: a tile that fills the registers, in an order that memory likes.

Why: the engine's tile is generated for the CPU, 8 x 48 with 32 registers of sixteen lanes. What is left is memory. A
block of k, [192, 48], stays in the first-level cache while the tiles of all rows use it; so blocks of k come before
rows. 144 rows of x stay in the second level. And every tile fetches its share of the next block meanwhile.
"""

from functools import partial

import numpy as np
from common import attention_by, prepare_by, product_by
from numba import njit

from minidistil.kernels import layout
from minidistil.kernels.layout import PANEL
from minidistil.kernels.products.tile import LANES, ROWS, SLIVER, tile

ORDER = "the rule"


def pack(w: np.ndarray) -> np.ndarray:
    """W float32 [N, K] as [N / 48, K, 48], cut into blocks of k, and these into slivers as wide as the tile."""
    panels = np.empty((layout.panels(len(w)), w.shape[1], PANEL), np.float32)
    layout.pack(w, panels, SLIVER)
    return panels


@njit(nogil=True)
def multiply(x, panels, b, block):
    (m, depth), lda, ldc = x.shape, x.strides[0] // 4, len(panels) * PANEL
    y = np.empty((m, ldc), np.float32)
    for top in range(0, m, 144):
        bottom = min(top + 144, m)
        ahead = PANEL * 4 * ROWS // (bottom - top + ROWS)  # bytes of the next block that a tile fetches at each k
        for j in range(len(panels)):
            for first in range(0, depth, block):
                length = min(block, depth - first)
                part = panels[j].ctypes.data + first * PANEL * 4
                fetch = part + length * PANEL * 4
                for n in range(0, PANEL, SLIVER):
                    column = (j * PANEL + n) * 4
                    for i in range(top, bottom, ROWS):
                        a, c = x[i].ctypes.data + first * 4, y[i].ctypes.data + column
                        tile(min(ROWS, bottom - i), SLIVER // LANES, 4, a, lda, part + n * length * 4, c, ldc,
                             b.ctypes.data + column, length, length, first, fetch, ahead)  # fmt: skip
                        fetch += length * ahead
    return y


prepare = partial(prepare_by, pack)
product = partial(product_by, multiply)
attention = partial(attention_by, multiply, pack)

if __name__ == "__main__":
    from measure import tell

    tell(__file__)
