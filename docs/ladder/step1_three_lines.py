"""Step 1: the formulas in NumPy, three lines each.

Why: everything later must mean this. The product is as fast as NumPy's BLAS is, which is fast; but in which order
BLAS adds depends on its version, on the CPU and on the shape of the matrices, so its bits are nobody's promise.
"""

import numpy as np

from minidistil.weights.model_weights import Linear

ORDER = "BLAS's"  # of the sums; "the rule" where it is that of docs/arithmetic.md


def prepare(w: Linear) -> Linear:
    """What is done once, when a model is loaded: nothing."""
    return w


def product(x: np.ndarray, w: Linear) -> np.ndarray:
    """x W^T + b: float32 [M, K] -> [M, N]."""
    return x @ w.weight.T + w.bias


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """softmax(q k^T / sqrt(d)) v for each head: float32 [n, H, d] -> [n, H, d]."""
    scores = np.einsum("ihd,jhd->hij", q, k, optimize=True) / np.float32(np.sqrt(q.shape[2]))  # [H, n, n]
    e = np.exp(scores - scores.max(axis=2, keepdims=True))
    return np.einsum("hij,jhd->ihd", e / e.sum(axis=2, keepdims=True), v, optimize=True)


if __name__ == "__main__":
    from measure import tell

    tell(__file__)
