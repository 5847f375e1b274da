"""LayerNorm and its backward pass: y = gain x^ + shift, where x^ = (x - mean) rstd and rstd = 1 / sqrt(var + eps).

`M` rows, `D` columns. `moments` is float32 [M, 2], each row's mean and rstd.
"""

from __future__ import annotations

import itertools

import numpy as np

from minidistil.backends.reference.elementary import fma
from minidistil.backends.reference.exact import blocks, moments, normalized
from minidistil.backends.reference.learning.lanes import lane_dot, lane_sum
from minidistil.backends.reference.learning.linear import column_sums
from minidistil.weights.model_weights import Norm

f32 = np.float32


@np.errstate(all="ignore")
def layer_norm_forward(x: np.ndarray, w: Norm) -> tuple[np.ndarray, np.ndarray]:
    """`exact.layer_norm` of float32 [M, D], and the moments: float32 [M, D], [M, 2]."""
    mean, rstd = moments(x, w.eps)
    return fma(normalized(x, mean, rstd), w.weight, w.bias), np.stack([mean, rstd], axis=1)


@np.errstate(all="ignore")
def layer_norm_backward(
    dy: np.ndarray, x: np.ndarray, kept: np.ndarray, gain: np.ndarray, more: np.ndarray | None = None
) -> np.ndarray:
    """The gradient of the input: (g - mean(g) - x^ mean(g x^)) rstd, where g = (dy + more) gain.

    Args:
        dy: float32 [M, D], and `more`, the same or None: a second gradient of y.
        x: float32 [M, D], what was normalized.
        kept: float32 [M, 2], its moments.
        gain: float32 [D].

    Returns:
        float32 [M, D].
    """
    n, rstd = f32(x.shape[1]), kept[:, 1, None]
    hat = normalized(x, *kept.T)
    g = (dy if more is None else dy + more) * gain
    a = lane_sum(g) / n
    b = lane_dot(g, hat) / n
    return fma(-hat, b[:, None], g - a[:, None]) * rstd


@np.errstate(all="ignore")
def norm_gradient(
    dy: np.ndarray,
    x: np.ndarray,
    kept: np.ndarray,
    dgain: np.ndarray,
    dshift: np.ndarray,
    more: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """dgain + the sum over rows of d x^, and dshift + that of d, where d = dy + more.

    Each block of rows is one chain from zero, of fma for the gain; dgain and dshift, float32 [D], are the gradients so
    far. The rest is as `layer_norm_backward` has it.
    """
    d = dy if more is None else dy + more
    hat = normalized(x, *kept.T)
    for first, end in itertools.pairwise(blocks(len(x))):
        block = np.zeros_like(dgain)
        for row, row_hat in zip(d[first:end], hat[first:end], strict=True):
            block = fma(row, row_hat, block)
        dgain = dgain + block
    return dgain, column_sums(d, dshift)
