"""GELU in its exact (erf) form, sixteen lanes at a time.

    z = x sqrt(1/2);  erf(z) by Abramowitz and Stegun 7.1.26;  y = (x / 2) (1 + erf(z))

The steps and roundings are those of PyTorch's AVX2 kernel (docs/arithmetic.md); `exp` is Sleef's 1.0-ULP expf.
"""

from __future__ import annotations

import numpy as np

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.simd.memory import load, store
from minidistil.kernels.simd.values import (
    bits,
    copysign,
    fabs,
    fma,
    from_bits,
    negative,
    rint,
    shift_left,
    shift_right,
    splat,
    splat_bits,
    where,
)

f32 = np.float32
_SQRT_HALF = f32(np.sqrt(0.5))
LOG2_E = f32(1.442695040888963407359924681001892137426645954152985934135449406931)
LN2_HIGH = f32(-0.693145751953125)
LN2_LOW = f32(-1.428606765330187045e-06)
_E5, _E4, _E3 = f32(0.000198527617612853646278381), f32(0.00139304355252534151077271), f32(0.00833336077630519866943359)
_E2, _E1, _E0 = f32(0.0416664853692054748535156), f32(0.166666671633720397949219), f32(0.5)
_P = f32(0.3275911)
_A5, _A4, _A3 = f32(1.061405429), f32(-1.453152027), f32(1.421413741)
_A2, _A1 = f32(-0.284496736), f32(0.254829592)
_TINY = f32(-104.0)
FAR = f32(87.0)  # e^-87 is 2^-125.5

# Adding 1.5 * 2^23 leaves an integer of up to 22 bits in the low bits of the sum: a conversion without undefined cases.
TO_INTEGER = f32(12582912.0)
TO_INTEGER_BITS = np.int32(0x4B400000)


@kernel
def integer_bits(x):
    """int32 lanes of float32 lanes that hold integers of magnitude below 2^22; anything for other values."""
    return bits(x + splat(TO_INTEGER)) - splat_bits(TO_INTEGER_BITS)


@kernel
def power_of_two(n):
    """2^n as float32, n int32 from -126 to 127; zero for n = -127."""
    return from_bits(shift_left(n + splat_bits(np.int32(127)), 23))


@kernel
def _near_zero(s):
    """e^s for |s| up to ln(2) / 2, or a little more."""
    u = fma(splat(_E5), s, splat(_E4))
    u = fma(u, s, splat(_E3))
    u = fma(u, s, splat(_E2))
    u = fma(u, s, splat(_E1))
    u = fma(u, s, splat(_E0))
    return splat(f32(1.0)) + fma(s * s, u, s)


@kernel
def exp16(d):
    """Sleef's expf with an error below 1.0 ULP, of at most 100; zero below -104."""
    q = rint(d * splat(LOG2_E))
    s = fma(q, splat(LN2_HIGH), d)
    s = fma(q, splat(LN2_LOW), s)
    u = _near_zero(s)
    n = integer_bits(q)
    half = shift_right(n, 1)
    u = u * power_of_two(half) * power_of_two(n - half)
    return where(d < splat(_TINY), splat(f32(0.0)), u)


@kernel
def _exp_of_minus(w):
    """`exp16` of -w, w >= 0, in fewer steps: from 87 on, what adding it to 1 does not show.

    Adding 1.5 * 2^23 rounds as `rint` does, and leaves the integer where a shift makes a float's exponent of it; taken
    off the exponent of e^s it multiplies by 2^-n, n at most 126.
    """
    w = where(splat(FAR) < w, splat(FAR), w)
    shifted = w * splat(LOG2_E) + splat(TO_INTEGER)
    n = shifted - splat(TO_INTEGER)
    s = fma(n, splat(-LN2_HIGH), negative(w))
    s = fma(n, splat(-LN2_LOW), s)
    return from_bits(bits(_near_zero(s)) - shift_left(bits(shifted), 23))


@kernel
def normal16(x):
    """1 + erf(x / sqrt 2), e^(-x^2 / 2) and x^2 / 2; the exponential stays as it is from x^2 / 2 = FAR on."""
    one = splat(f32(1.0))
    z = x * splat(_SQRT_HALF)
    t = one / fma(splat(_P), fabs(z), one)
    poly = fma(splat(_A5), t, splat(_A4))
    poly = fma(poly, t, splat(_A3))
    poly = fma(poly, t, splat(_A2))
    poly = fma(poly, t, splat(_A1))
    square = z * z
    e = _exp_of_minus(square)
    magnitude = fma(negative(e) * t, poly, one)
    # The magnitude is not negative, or NaN: z's sign goes onto it as a bit.
    return one + copysign(magnitude, z), e, square


@kernel
def gelu16(x):
    """GELU of sixteen lanes."""
    doubled, _, _ = normal16(x)
    return x * splat(f32(0.5)) * doubled


@kernel
def gelu_rows(x, ld, rows, width):
    """GELU in place on float32 [rows, width] at an address, rows `ld` apart; width is a multiple of 16."""
    for i in range(rows):
        row = x + i * ld * 4
        for j in range(0, width, 16):
            store(row, j, gelu16(load(row, j)))
