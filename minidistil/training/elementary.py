"""Exponentials and logarithms in float64 with the same bits on every machine, unlike NumPy's and the C library's."""

from __future__ import annotations

import math

import numpy as np

_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # fdlibm's: k times the first is exact
_TAYLOR = [1 / math.factorial(i) for i in range(14)]  # of exp, exact enough for |x| <= ln 2 / 2


def exp(x: np.ndarray) -> np.ndarray:
    """Return e^x, float64, for x from -700 to 700 (beyond these, as there), to about 1e-16 of it."""
    x = np.clip(x, -700.0, 700.0)
    k = np.rint(x * 1.4426950408889634)  # log2(e)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    y = np.full_like(r, _TAYLOR[-1])
    for term in reversed(_TAYLOR[:-1]):
        y *= r
        y += term
    with np.errstate(invalid="ignore"):  # NaN has no whole number, and is one still
        return np.ldexp(y, k.astype(np.int32))


def log(x: np.ndarray) -> np.ndarray:
    """Return the natural logarithm, float64, of positive x: 2 artanh((m - 1) / (m + 1)) of the part m near 1."""
    m, k = np.frexp(x)  # from 1/2 to 1
    low = m < 0.7071067811865476
    m, k = np.where(low, 2.0 * m, m), np.where(low, k - 1, k).astype(np.float64)
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    y = np.full_like(s, 1 / 23)
    for i in range(21, 0, -2):
        y *= square
        y += 1 / i
    return k * _LN2_HIGH + (k * _LN2_LOW + 2.0 * s * y)
