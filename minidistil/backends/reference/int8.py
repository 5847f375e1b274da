"""A product in whole numbers: `Int8Linear` in plain NumPy, and what the kernels of int8 are compared with.

A row of x becomes codes of 0 to 255, with a scale and a zero point of its own: x is nearly (code - zero) * scale. So

    y[n] = sum over k of (code[k] - zero) scale * weight[n, k] scale[n] + bias[n]

in which everything but whole numbers stands outside the sum. That sum is exact, in any order and on any CPU; what is
rounded around it is rounded in one order. So a row's result depends on nothing but the row.

Columns that are kept count as zeros there. What they add comes behind, in float32, one after another:

    y[n] = fma(x[k], weight[n, k], y[n])

Whatever is not finite in a row of x makes all of its result NaN: there is no scale for it.

Legend as in model.py; a product is [M, K] x [N, K]^T -> [M, N].
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidistil.backends.reference.elementary import fma
from minidistil.weights.narrow import Int8Linear

f32 = np.float32

LEVELS = 255  # steps of a code
SMALLEST_RANGE = 2.0**-100
"""A row of which greatest and least are closer is one of zeros: its scale's reciprocal would not be a float32."""


class Codes(NamedTuple):
    """Rows in whole numbers.

    Attributes:
        codes: uint8 [M, K].
        scale: float32 [M], NaN where the row has anything that is not finite.
        zero: int32 [M], the code of 0.0: 0 to 255.
    """

    codes: np.ndarray
    scale: np.ndarray
    zero: np.ndarray


@np.errstate(all="ignore")
def linear(x: np.ndarray, w: Int8Linear) -> np.ndarray:
    """x W^T + b: float32 [M, K] -> [M, N]."""
    a = code_rows(x if w.smooth is None else x * w.smooth)
    total = product(a.codes, w.codes) - a.zero[:, None] * w.codes.sum(axis=1, dtype=np.int32)  # int32 [M, N]
    scale = a.scale[:, None] * w.scale  # float32, one rounding
    y = fma(total.astype(f32), scale, np.broadcast_to(w.bias, total.shape))
    if w.kept is not None:
        for i, k in enumerate(w.columns):
            y = fma(x[:, k, None], w.kept[:, i], y)
    return y


@np.errstate(all="ignore")
def code_rows(x: np.ndarray) -> Codes:
    """Each row in steps of its own, so that its least and greatest number, and zero, have codes: float32 [M, K]."""
    finite = np.isfinite(x).all(axis=1)
    # Zero is within every row's range.
    low, high = np.minimum(x.min(axis=1), f32(0)), np.maximum(x.max(axis=1), f32(0))
    width = high.astype(np.float64) - low.astype(np.float64)
    some = finite & (width >= SMALLEST_RANGE)
    scale = np.where(some, (width / LEVELS).astype(f32), np.where(finite, f32(1), f32(np.nan)))
    steps = np.where(some, (LEVELS / width).astype(f32), f32(0))  # of 1.0
    zero = np.where(some, np.clip(np.rint(-low * steps), 0, LEVELS), 0).astype(np.int32)
    codes = np.where(some[:, None], np.rint(x * steps[:, None]), f32(0))
    codes = np.clip(codes.astype(np.int32) + zero[:, None], 0, LEVELS)
    return Codes(codes.astype(np.uint8), scale, zero)


def product(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x w^T: uint8 [M, K], int8 [N, K] -> int32 [M, N].

    By the BLAS in float64, where sums of whole numbers are exact in every order: below 2^53, as K is below 2^37.
    """
    return (x.astype(np.float64) @ w.astype(np.float64).T).astype(np.int32)
