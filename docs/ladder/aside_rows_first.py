"""Aside: step 6 with rows before blocks of k.

Each tile of rows goes through a whole panel before the next does. It did not help. A panel of 768 x 48 is 147 KB: too
much for the first-level cache, so every tile of rows reads it from the second level, where a block of 192 k would have
stayed near. Nor is the next block fetched meanwhile. The sums are the same, so the bits are.
"""

import numpy as np
from numba import njit
from step6_blocks import prepare  # noqa: F401  (measured with this product)

from minidistil.kernels.layout import PANEL, chain_length
from minidistil.kernels.products.tile import LANES, ROWS, SLIVER, tile

ORDER = "the rule"


@njit(nogil=True)
def multiply(x, panels, b, block):
    (m, depth), lda, ldc = x.shape, x.strides[0] // 4, len(panels) * PANEL
    y = np.empty((m, ldc), np.float32)
    for j in range(len(panels)):
        for n in range(0, PANEL, SLIVER):
            column = (j * PANEL + n) * 4
            for i in range(0, m, ROWS):
                for first in range(0, depth, block):
                    length = min(block, depth - first)
                    part = panels[j].ctypes.data + (first * PANEL + n * length) * 4
                    a, c = x[i].ctypes.data + first * 4, y[i].ctypes.data + column
                    tile(min(ROWS, m - i), SLIVER // LANES, 4, a, lda, part, c, ldc,
                         b.ctypes.data + column, length, length, first, part, 0)  # fmt: skip
    return y


def product(x: np.ndarray, w: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return multiply(x, *w, chain_length(x.shape[1]))


if __name__ == "__main__":
    from measure import tell

    tell(__file__)
