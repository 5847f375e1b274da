"""Step 5: a tile of sums in registers, four rows by two vectors.

Why: a multiply-add takes four cycles and two may begin in each, so eight chains keep the units busy. And what is loaded
is used more often: six loads for eight multiply-adds, where step 4 had two for each.
"""

from functools import partial

import numpy as np
from common import attention_by, pack, prepare_by, product_by
from numba import njit

from minidistil.kernels.simd.memory import load, store
from minidistil.kernels.simd.values import fma, splat

ORDER = "the rule"
PACK = partial(pack, width=32)


@njit(nogil=True)
def add(y, column, s, t):
    """Two vectors to a row of y, by its address."""
    store(y, column, load(y, column) + s)
    store(y, column + 16, load(y, column + 16) + t)


@njit(nogil=True)
def multiply(x, packed, b, block):
    (m, length), (slivers, _, _) = x.shape, packed.shape
    y = np.empty(((m + 3) // 4 * 4, slivers * 32), np.float32)
    y[:] = b[: slivers * 32]
    for j in range(slivers):
        for i in range(0, m, 4):
            p, q, r, s = x[i], x[min(i + 1, m - 1)], x[min(i + 2, m - 1)], x[min(i + 3, m - 1)]  # the last row again
            for first in range(0, length, block):
                p0 = p1 = q0 = q1 = r0 = r1 = s0 = s1 = splat(np.float32(0))
                for k in range(first, min(first + block, length)):
                    w0, w1 = load(packed[j].ctypes.data, k * 32), load(packed[j].ctypes.data, k * 32 + 16)
                    p0, p1 = fma(splat(p[k]), w0, p0), fma(splat(p[k]), w1, p1)
                    q0, q1 = fma(splat(q[k]), w0, q0), fma(splat(q[k]), w1, q1)
                    r0, r1 = fma(splat(r[k]), w0, r0), fma(splat(r[k]), w1, r1)
                    s0, s1 = fma(splat(s[k]), w0, s0), fma(splat(s[k]), w1, s1)
                add(y[i].ctypes.data, j * 32, p0, p1)
                add(y[i + 1].ctypes.data, j * 32, q0, q1)
                add(y[i + 2].ctypes.data, j * 32, r0, r1)
                add(y[i + 3].ctypes.data, j * 32, s0, s1)
    return y[:m]


prepare = partial(prepare_by, PACK)
product = partial(product_by, multiply)
attention = partial(attention_by, multiply, PACK)

if __name__ == "__main__":
    from measure import tell

    tell(__file__)
