"""Step 3: the rule of sums.

Why: now the result is defined; from here on every bit is PyTorch's, and all steps have the same. Each sum is cut into
blocks of k, 192 terms as a rule; each block is one chain of multiply-adds from zero, each rounded once; the totals are
added to the bias. No quicker: a multiply-add takes longer than an addition, and a chain still waits for itself.
"""

from functools import partial

import numpy as np
from common import attention_by, prepare_by, product_by
from numba import njit

from minidistil.kernels.simd.values import fma_scalar  # a b + c, rounded once: one instruction of the CPU

ORDER = "the rule"


@njit(nogil=True)
def multiply(x, w, b, block):
    y = np.empty((len(x), len(w)), np.float32)
    for i in range(len(x)):
        for j in range(len(w)):
            y[i, j] = b[j]
            for first in range(0, x.shape[1], block):
                total = np.float32(0)
                for k in range(first, min(first + block, x.shape[1])):
                    total = fma_scalar(x[i, k], w[j, k], total)
                y[i, j] += total
    return y


prepare = partial(prepare_by, np.ascontiguousarray)
product = partial(product_by, multiply)
attention = partial(attention_by, multiply, np.ascontiguousarray)

if __name__ == "__main__":
    from measure import tell

    tell(__file__)
