"""The backward pass of a product Y = X W^T + b, in the order of sums of the products forwards.

`M` rows of X, tokens as a rule; X is [M, K], W [N, K]. Gradients of weights are added to what is there: a sum over M
starts from that, and takes the totals of `blocks(M)` one after another.
"""

from __future__ import annotations

import itertools

import numpy as np

from minidistil.backends.reference.exact import blocks, product

f32 = np.float32


def linear_backward(
    dy: np.ndarray, x: np.ndarray, weight: np.ndarray, dw: np.ndarray, db: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All that a product's backward pass gives.

    Args:
        dy: float32 [M, N].
        x: float32 [M, K].
        weight: float32 [N, K].
        dw: float32 [N, K], the gradient so far; db: float32 [N], the same.

    Returns:
        dX float32 [M, K], and both gradients with this one added.
    """
    return input_gradient(dy, weight), weight_gradient(dy, x, dw), column_sums(dy, db)


def input_gradient(dy: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """dX = dY W: float32 [M, N], [N, K] -> [M, K]; a sum over N, in the blocks of every product."""
    return product(dy, np.ascontiguousarray(weight.T))


@np.errstate(all="ignore")
def weight_gradient(dy: np.ndarray, x: np.ndarray, start: np.ndarray) -> np.ndarray:
    """start + dY^T X: float32 [M, N], [M, K], [N, K] -> [N, K]; a sum over M, each block one chain of fma from zero."""
    total = start
    for first, end in itertools.pairwise(blocks(len(x))):
        total = total + product(dy[first:end].T, x[first:end].T)  # at most 192 terms: a single chain
    return total


@np.errstate(all="ignore")
def column_sums(x: np.ndarray, start: np.ndarray) -> np.ndarray:
    """start + the sum of the rows: float32 [M, N], [N] -> [N]; each block of rows from zero, added one by one."""
    total = start
    for first, end in itertools.pairwise(blocks(len(x))):
        block = np.zeros_like(start)
        for row in x[first:end]:
            block = block + row
        total = total + block
    return total
