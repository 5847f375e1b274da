"""What steps 3 to 6 share: W in slivers of columns, and attention around a product: two, and a softmax between them."""

import math
from collections.abc import Callable

import numpy as np
from numba import njit

from minidistil.kernels.layout import chain_length  # of a block of the sum, for K terms
from minidistil.kernels.products.attention import softmax_numerators  # e^(scale s - max), and 1 / their sum
from minidistil.weights.model_weights import Linear


def pack(w: np.ndarray, width: int) -> np.ndarray:
    """W float32 [N, K] as slivers of so many columns side by side, zeros beyond N: [slivers, K, width]."""
    full = np.zeros((-(-len(w) // width) * width, w.shape[1]), np.float32)
    full[: len(w)] = w
    return np.ascontiguousarray(full.reshape(-1, width, w.shape[1]).transpose(0, 2, 1))


def prepare_by(pack: Callable, w: Linear) -> tuple[np.ndarray, np.ndarray]:
    """What is done once, when a model is loaded: W packed, and the bias with room for the last sliver."""
    return pack(w.weight), np.append(w.bias, np.zeros(64, np.float32))


def product_by(multiply: Callable, x: np.ndarray, w: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """x W^T + b: float32 [M, K] -> [M, N], or more columns, which are padding."""
    return multiply(x, *w, chain_length(x.shape[1]))


@njit(nogil=True)
def softmax(s, n, scale):
    """Make rows s float32 [n, padded] exponentials, in place; returns 1 / the sum of each, float32 [n, 1]."""
    greatest, reciprocals = np.empty(len(s), np.float32), np.empty((len(s), 1), np.float32)
    places = np.intp(s.ctypes.data), np.intp(greatest.ctypes.data), np.intp(reciprocals.ctypes.data)
    softmax_numerators(places[0], s.shape[1], len(s), n, scale, 0, 0, *places[1:])
    return reciprocals


def attention_by(multiply: Callable, pack: Callable, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """softmax(q k^T / sqrt(d)) v for each head, with a step's product: float32 [n, H, d] -> [n, H, d].

    A product without a bias starts from -0, the only number to which anything may be added and stays what it is.
    The second product is cut into blocks as if the keys were a multiple of sixteen (docs/arithmetic.md).
    """
    n, heads, d = q.shape
    padded, scale, context = -(-n // 16) * 16, np.float32(1 / math.sqrt(d)), np.empty_like(q)
    s = np.zeros((n, padded), np.float32)
    nothing = np.full(max(n, d) + 64, -0.0, np.float32)
    for h in range(heads):
        s[:, :n] = multiply(q[:, h], pack(k[:, h]), nothing, chain_length(d))[:, :n]
        r = softmax(s, n, scale)
        context[:, h] = multiply(s[:, :n], pack(v[:, h].T), nothing, chain_length(padded))[:, :d] * r
    return context
