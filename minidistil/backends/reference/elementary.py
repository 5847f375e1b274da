"""Elementary functions of float32 arrays with the bits of PyTorch's vectorised CPU kernels, in nothing but NumPy.

PyTorch takes `exp`, `tanh` and `log1p` from the library Sleef (Shibata and Petrogalli, "SLEEF: A Portable Vectorized
Library of C Standard Mathematical Functions", 2020): the functions of 1.0 ULP, as compiled for CPUs with fma.
"""

from __future__ import annotations

import numpy as np

f32 = np.float32
Double = tuple[np.ndarray, np.ndarray]  # a value as the sum of a float32 and of a much smaller one
SUSPECT_SHIFT = np.uint64(36)  # drops all but the low 28 bits of a float64: zero where it may lie between two float32


@np.errstate(all="ignore")
def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a b + c of float32 arrays (broadcast), rounded once, to nearest even.

    The float64 product of two float32 is exact; its float64 sum with c is not, and rounding that sum again to float32
    goes wrong where it landed on the midpoint of two float32 (about once in 5e8). `round_to_odd` undoes that.
    """
    p = np.asarray(np.multiply(a, b, dtype=np.float64))
    s = np.asarray(p + c)
    suspects = (s.view(np.uint64) << SUSPECT_SHIFT) == 0
    if suspects.any():
        round_to_odd(s, p, np.broadcast_to(c, s.shape), suspects)
    return s.astype(f32)


def round_to_odd(s: np.ndarray, p: np.ndarray, c: np.ndarray, suspects: np.ndarray) -> None:
    """Make s = p + c (float64, rounded to nearest) round-to-odd at the suspects, in place.

    A second rounding errs only where the first made a tie: s halfway between two float32 (its low 29 bits are
    100...0) or, below 2^-126, an odd multiple of 2^-150 (at most 24 significant bits, so the low 29 are zero). Both
    have 28 low zero bits, which makes the test one shift. Round-to-odd of the 53-bit sum then rounds to float32 as the
    exact sum would (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
    """
    at = suspects & np.isfinite(s)
    s_, p_, c_ = s[at], p[at], c[at].astype(np.float64)
    t = s_ - p_
    error = (p_ - (s_ - t)) + (c_ - t)  # TwoSum: p + c = s + error, exactly
    s[at] = np.where(error == 0, s_, np.nextafter(s_, np.copysign(np.inf, error)))  # an even s: one step is odd


@np.errstate(all="ignore")
def expf(x: np.ndarray) -> np.ndarray:
    """e^x as in Sleef's `expf_u10`: float32, any shape; 0 below -104, infinite above 100."""
    q = np.rint(np.clip(x, f32(-200), f32(200)) * f32(_LOG2_E))
    s = fma(q, f32(-_LN2_LOW), fma(q, f32(-_LN2_HIGH), x))
    u = horner(
        s,
        0.000198527617612853646278381,
        0.00139304355252534151077271,
        0.00833336077630519866943359,
        0.0416664853692054748535156,
        0.166666671633720397949219,
        0.5,
    )
    y = _scale(f32(1) + fma(s * s, u, s), q)
    return np.where(x < f32(-104), f32(0), np.where(x > f32(100), f32(np.inf), y))


@np.errstate(all="ignore")
def exp_u20(x: np.ndarray) -> np.ndarray:
    """e^x as in PyTorch's `Vectorized<float>::exp_u20`, which its CPU attention takes: float32, any shape.

    2^(n-1) is put together from its exponent bits, which gives 0 and not a subnormal for n = -126: every x below
    about -86.99 gives 0, although e^x would still be a normal number there.
    """
    low, high, log2_e, ln_2 = np.array([0xC2AEAC50, 0x42B17218, 0x3FB8AA3B, 0x3F317218], np.uint32).view(f32)
    s = np.maximum(np.minimum(x, high), low)
    n = np.floor(fma(s, log2_e, f32(0.5)))
    r = fma(-n, ln_2, s)
    poly = horner(r, 0.00828929059, 0.0418978221, 0.166676521, 0.499991506, 0.999999701, 1.0)
    power = np.where(x < low, f32(0), power_of_two(n.astype(np.int32) - 1))
    return poly * power * f32(2)


@np.errstate(all="ignore")
def sleef_tanhf(x: np.ndarray) -> np.ndarray:
    """The hyperbolic tangent as in Sleef's `tanhf_u10`: (e^|x| - e^-|x|) / (e^|x| + e^-|x|) in doubled floats."""
    y = np.abs(x)
    grown = _exp2(y)
    shrunk = _reciprocal(grown)
    high, low = _quotient(_difference(grown, shrunk), _add_smaller(grown, shrunk))
    return np.copysign(np.where(y > f32(8.664339742), f32(1), high + low), x)


@np.errstate(all="ignore")
def log1pf(x: np.ndarray) -> np.ndarray:
    """log(1 + x) for x >= 0 as in Sleef's `log1pf_u10`: float32, any shape; infinite above 1e38."""
    scaled = np.ascontiguousarray((x + f32(1)) * f32(1 / 0.75))
    e = (scaled.view(np.int32) >> 23) - 127  # 2^e is the power of two next to 1 + x
    t = power_of_two(np.maximum(-e, -127))
    m = fma(x, t, t - f32(1))
    zero = np.zeros_like(m)
    s = _times((np.full_like(m, 0.69314718246459960938), np.full_like(m, -1.904654323148236017e-09)), e.astype(f32))
    two_and_m = f32(2) + m
    high, low = _quotient((m, zero), (two_and_m, (f32(2) - two_and_m) + m))
    square = high * high
    t = horner(square, 0.3027294874, 0.3996108174, 0.6666694880)
    s = _add_smaller(s, (high * f32(2), low * f32(2)))
    total = s[0] + (square * high) * t
    y = total + (((s[0] - total) + (square * high) * t) + s[1])
    return np.where(x > f32(1e38), f32(np.inf), y)


def horner(t: np.ndarray, *coefficients: float) -> np.ndarray:
    """((c0 t + c1) t + c2) ..., one fma a step."""
    result = np.full_like(t, coefficients[0])
    for c in coefficients[1:]:
        result = fma(result, t, f32(c))
    return result


def power_of_two(n: np.ndarray) -> np.ndarray:
    """float32 with exponent n (int32, -127 to 127; -127 gives 0), put together from its bits."""
    return ((n + 127) << 23).astype(np.int32).view(f32)


# Doubled floats: sums and products whose rounding errors are kept. Each is Sleef's function of the kind, step by step.

_LOG2_E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.693145751953125, 1.428606765330187045e-06


def _scale(x: np.ndarray, q: np.ndarray) -> np.ndarray:
    """x 2^q in two steps, so that a subnormal result is rounded once."""
    n = np.clip(np.nan_to_num(q), -252, 252).astype(np.int32)
    return x * power_of_two(n >> 1) * power_of_two(n - (n >> 1))


def _exp2(x: np.ndarray) -> Double:
    """e^x as a doubled float (Sleef's expk2f)."""
    q = np.rint(x * f32(_LOG2_E))
    s = _add(_add((x, np.zeros_like(x)), q * f32(-_LN2_HIGH)), q * f32(-_LN2_LOW))
    u = horner(s[0], 0.1980960224e-3, 0.1394256484e-2, 0.8333456703e-2, 0.4166637361e-1)
    t = _add(_times(s, u), f32(0.166666659414234244790680580464))
    t = _add(_product(s, t), f32(0.5))
    t = _sum(s, _product(_square(s), t))
    high = f32(1) + t[0]
    return _scale(high, q), _scale(((f32(1) - high) + t[0]) + t[1], q)


def _add(x: Double, y: np.ndarray) -> Double:
    s = x[0] + y
    v = s - x[0]
    return s, ((x[0] - (s - v)) + (y - v)) + x[1]


def _sum(x: Double, y: Double) -> Double:
    s = x[0] + y[0]
    v = s - x[0]
    return s, ((x[0] - (s - v)) + (y[0] - v)) + (x[1] + y[1])


def _add_smaller(x: Double, y: Double) -> Double:
    """x + y where |x| >= |y|."""
    s = x[0] + y[0]
    return s, (((x[0] - s) + y[0]) + x[1]) + y[1]


def _difference(x: Double, y: Double) -> Double:
    """x - y where |x| >= |y|."""
    s = x[0] - y[0]
    return s, (((x[0] - s) - y[0]) + x[1]) - y[1]


def _times(x: Double, y: np.ndarray) -> Double:
    s = x[0] * y
    return s, fma(x[1], y, fma(x[0], y, -s))


def _product(x: Double, y: Double) -> Double:
    s = x[0] * y[0]
    return s, fma(x[0], y[1], fma(x[1], y[0], fma(x[0], y[0], -s)))


def _square(x: Double) -> Double:
    s = x[0] * x[0]
    return s, fma(x[0] + x[0], x[1], fma(x[0], x[0], -s))


def _reciprocal(x: Double) -> Double:
    s = f32(1) / x[0]
    return s, s * fma(-x[1], s, fma(-x[0], s, f32(1)))


def _quotient(x: Double, y: Double) -> Double:
    t = f32(1) / y[0]
    s = x[0] * t
    v = fma(-y[1], t, fma(-y[0], t, f32(1)))
    return s, fma(s, v, fma(x[1], t, fma(t, x[0], -s)))
