"""Single-rounding arithmetic by exact rationals: slow, and short enough to be believed."""

from __future__ import annotations

from fractions import Fraction

import numpy as np


def fma(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    """a b + c, rounded once, of finite float32."""
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    if exact == 0:  # the sign of a zero is IEEE 754's: float64 holds both terms exactly, and adds them to zero exactly
        return np.float32(np.float64(a) * np.float64(b) + np.float64(c))
    return to_float32(exact)


def to_float32(x: Fraction) -> np.float32:
    """The float32 nearest to x != 0, ties to even, infinity from 2^128 - 2^103 on."""
    magnitude = abs(x)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if Fraction(2) ** exponent > magnitude:
        exponent -= 1  # 2^exponent <= magnitude < 2^(exponent + 1)
    unit = Fraction(2) ** (max(exponent, -126) - 23)  # of the last place; subnormals share that of 2^-126
    units = round(magnitude / unit)  # Fraction rounds ties to even
    value = units * unit
    if value >= Fraction(2) ** 128:
        return np.float32(np.copysign(np.inf, float(np.sign(x))))
    result = np.float32(float(value))  # exact: at most 24 bits
    return -result if x < 0 else result
