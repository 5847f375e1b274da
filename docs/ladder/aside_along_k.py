"""Aside: vectors along k, as dot products are written.

Lane j takes the terms j, j + 16, and so on. It did not help: nothing has to be packed, but both factors are loaded for
every multiply-add, sixteen lanes are added up at the end of every sum, and the bits are another order's. (PyTorch has
such an order too, for up to 11 columns.)
"""

import numpy as np
from numba import njit

from minidistil.kernels.simd.memory import load_first
from minidistil.kernels.simd.values import first_lanes, fma, high, low, splat, tree_sum
from minidistil.weights.model_weights import Linear

ORDER = "sixteen lanes along k, then a tree"


def prepare(w: Linear) -> Linear:
    return w


@njit(nogil=True)
def multiply(x, w, b):
    y = np.empty((len(x), len(w)), np.float32)
    for i in range(len(x)):
        for j in range(len(w)):
            lanes = splat(np.float32(0))
            for k in range(0, x.shape[1], 16):
                some = first_lanes(x.shape[1] - k)
                lanes = fma(load_first(x[i].ctypes.data, k, some), load_first(w[j].ctypes.data, k, some), lanes)
            y[i, j] = tree_sum(low(lanes) + high(lanes)) + b[j]
    return y


def product(x: np.ndarray, w: Linear) -> np.ndarray:
    return multiply(x, w.weight, w.bias)


if __name__ == "__main__":
    from measure import tell

    tell(__file__)
