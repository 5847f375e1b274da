"""Step 2: the sum written out in three loops.

Why: to see what a product is, and what one addition after another costs. Each waits for the one before it; so a core
that could do dozens of multiplications and additions in a cycle does about one. The compiler may not help: adding in
another order would be another result.
"""

import math

import numpy as np
from numba import njit

from minidistil.weights.model_weights import Linear

ORDER = "k = 0, 1, 2, ..., each product and each sum rounded"


def prepare(w: Linear) -> Linear:
    return w


@njit(nogil=True)
def multiply(x, w, b):
    y = np.empty((len(x), len(w)), np.float32)
    for i in range(len(x)):
        for j in range(len(w)):
            total = np.float32(0)
            for k in range(x.shape[1]):
                total += x[i, k] * w[j, k]
            y[i, j] = total + b[j]
    return y


def product(x: np.ndarray, w: Linear) -> np.ndarray:
    return multiply(x, w.weight, w.bias)


@njit(nogil=True)
def attention(q, k, v):
    n, heads, d = q.shape
    context, scale = np.empty_like(q), np.float32(1 / math.sqrt(d))
    no_keys, no_width = np.zeros(n, np.float32), np.zeros(d, np.float32)
    for h in range(heads):
        s = multiply(q[:, h], k[:, h], no_keys)  # [n, n]
        for i in range(n):
            top, total = s[i].max(), np.float32(0)
            for j in range(n):
                s[i, j] = math.exp((s[i, j] - top) * scale)
                total += s[i, j]
            s[i] /= total
        context[:, h] = multiply(s, v[:, h].T, no_width)  # [n, n] x [d, n]^T -> [n, d]
    return context


if __name__ == "__main__":
    from measure import tell

    tell(__file__)
