"""Figures that are the same on every machine: sums in one order, in float64, of nothing but + - * / and square roots.

NumPy's own sums, logarithms and exponentials, and BLAS, differ from machine to machine in their last bits.
"""

from __future__ import annotations

import math

import numpy as np

from minidistil.backends.reference import exact


def total(x: np.ndarray) -> np.ndarray:
    """Sums over the last axis, first to last: any [..., N] to float64 [...]."""
    if not x.shape[-1]:
        return np.zeros(x.shape[:-1])
    return np.add.accumulate(x.astype(np.float64), axis=-1)[..., -1]


@np.errstate(all="ignore")
def softmax(logits: np.ndarray) -> np.ndarray:
    """exp(x - max) / sum over the last axis: float32 [..., N] to float32 [..., N]."""
    e = exact.expf(logits - logits.max(axis=-1, keepdims=True))
    return (e.astype(np.float64) / total(e)[..., None]).astype(np.float32)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)): float32 to float32 of the same shape."""
    return exact.activation("sigmoid", logits)


def cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x . y / (|x| |y|) over the last axis, 0 where one is 0: float32 [..., D] twice to float64 [...]."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    lengths = np.sqrt(total(x * x) * total(y * y))
    return np.where(lengths > 0, total(x * y) / np.where(lengths > 0, lengths, 1), 0.0)


def principal(points: np.ndarray, kept: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of a few points, by Jacobi rotations of their Gram matrix in a fixed order.

    Args:
        points: float32 [S, D].
        kept: how many components.

    Returns:
        float64 [S, kept], coordinates, of which the largest by size is positive in each component; and [kept], their
        shares of the variance. Zeros where the points lie in fewer dimensions.
    """
    x = points.astype(np.float64)
    count = len(x)
    x = x - total(x.T) / count
    gram = total(x[:, None, :] * x[None, :, :])
    variance = float(total(gram.diagonal()))
    values, vectors = _eigen(gram)
    order = np.argsort(-values, kind="stable")[:kept]
    coordinates, shares = np.zeros((count, kept)), np.zeros(kept)
    for place, i in enumerate(order.tolist()):
        if variance <= 0 or values[i] <= 1e-12 * variance:
            continue
        column = vectors[:, i] * np.sqrt(values[i])
        largest = column[np.abs(column).argmax()]
        coordinates[:, place] = column if largest > 0 else -column
        shares[place] = values[i] / variance
    return coordinates, shares


def _eigen(symmetric: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues float64 [S] and eigenvectors [S, S], in columns, of a symmetric float64 [S, S]."""
    a, vectors = symmetric.copy(), np.eye(len(symmetric))
    for _ in range(60):  # sweeps; fewer than ten are needed
        if float(np.abs(a - np.diag(a.diagonal())).max(initial=0)) <= 1e-15 * float(np.abs(a).max(initial=0)):
            break
        for p in range(len(a)):
            for q in range(p + 1, len(a)):
                if a[p, q] == 0:
                    continue
                theta = float(a[q, q] - a[p, p]) / (2 * float(a[p, q]))
                t = (1 if theta >= 0 else -1) / (abs(theta) + math.sqrt(theta * theta + 1))
                c = 1 / math.sqrt(t * t + 1)
                s = t * c
                for m in (a, a.T, vectors.T):  # rows p and q, columns p and q, and the vectors' columns
                    one, other = m[p].copy(), m[q].copy()
                    m[p], m[q] = c * one - s * other, s * one + c * other
    return a.diagonal().copy(), vectors
