"""Step 4: sixteen sums side by side, in the lanes of a vector.

Why: the rule fixes the order along k, so vectors must not go along k. They go across the columns: a lane is another
sum, and sixteen chains wait no longer than one. So that sixteen columns lie side by side in memory, W is packed once.
"""

from functools import partial

import numpy as np
from common import attention_by, pack, prepare_by, product_by
from numba import njit

from minidistil.kernels.simd.memory import load, store  # sixteen float32 by address and position
from minidistil.kernels.simd.values import fma, splat  # values of sixteen lanes

ORDER = "the rule"
PACK = partial(pack, width=16)


@njit(nogil=True)
def multiply(x, packed, b, block):
    y = np.empty((len(x), len(packed) * 16), np.float32)
    for j in range(len(packed)):
        w = packed[j].ctypes.data
        for i in range(len(x)):
            sums = load(b.ctypes.data, j * 16)
            for first in range(0, x.shape[1], block):
                totals = splat(np.float32(0))
                for k in range(first, min(first + block, x.shape[1])):
                    totals = fma(splat(x[i, k]), load(w, k * 16), totals)
                sums = sums + totals
            store(y[i].ctypes.data, j * 16, sums)
    return y


prepare = partial(prepare_by, PACK)
product = partial(product_by, multiply)
attention = partial(attention_by, multiply, PACK)

if __name__ == "__main__":
    from measure import tell

    tell(__file__)
