"""The activations by their names in config.json, sixteen lanes at a time.

Orders of operations and roundings are those of `minidistil.backends.reference.activations`, which says where they come
from.
"""

from __future__ import annotations

import numpy as np

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.layout import (
    GELU,
    GELU_10,
    GELU_FAST,
    GELU_NEW,
    GELU_PYTORCH_TANH,
    HARDSWISH,
    LEAKY_RELU,
    LINEAR_ACTIVATION,
    MISH,
    QUICK_GELU,
    RELU,
    RELU2,
    RELU6,
    SIGMOID,
    SILU,
    TANH,
)
from minidistil.kernels.simd.gelu import (
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    TO_INTEGER,
    TO_INTEGER_BITS,
    exp16,
    gelu16,
    gelu_rows,
    integer_bits,
    power_of_two,
)
from minidistil.kernels.simd.memory import load, load_first, store, store_first
from minidistil.kernels.simd.tanh import tanh16
from minidistil.kernels.simd.values import (
    bits,
    copysign,
    fabs,
    first_lanes,
    fma,
    from_bits,
    negative,
    rint,
    shift_right,
    splat,
    splat_bits,
    where,
)

f32 = np.float32
SQRT_2_PI = f32(np.sqrt(2 / np.pi))
_SQRT_2_PI_SHORT = f32(0.7978845608)
CUBIC = f32(0.044715)
_QUICK = f32(1.702)
_LEAK = f32(0.01)  # of PyTorch, where nothing is said
_INFINITY = f32(np.inf)
_T3, _T2, _T1, _T0 = f32(0.1980960224e-3), f32(0.1394256484e-2), f32(0.8333456703e-2), f32(0.4166637361e-1)
_SIXTH = f32(0.166666659414234244790680580464)
_ONE_BEYOND = f32(8.664339742)
_LN2, _LN2_REST = f32(0.69314718246459960938), f32(-1.904654323148236017e-09)
_L2, _L1, _L0 = f32(0.3027294874), f32(0.3996108174), f32(0.6666694880)


@kernel
def activate_rows(x, ld, rows, width, activation):
    """Apply an activation in place on float32 [rows, width] at an address, rows `ld` apart; width a multiple of 16."""
    if activation == GELU:
        gelu_rows(x, ld, rows, width)
    elif activation != LINEAR_ACTIVATION:
        for i in range(rows):
            row = x + i * ld * 4
            for j in range(0, width, 16):
                store(row, j, activate16(load(row, j), activation))


@kernel
def activate_row(x, out, n, activation):
    """out = activation(x), float32 [n] by their addresses; out may be x. `activation` is one of layout.ACTIVATIONS."""
    whole = n - n % 16
    if activation == GELU:
        for j in range(0, whole, 16):
            store(out, j, gelu16(load(x, j)))
    else:
        for j in range(0, whole, 16):
            store(out, j, activate16(load(x, j), activation))
    if whole < n:
        mask = first_lanes(n - whole)
        store_first(out, whole, mask, activate16(load_first(x, whole, mask), activation))


@kernel
def activate16(x, activation):
    """The activation of sixteen lanes."""
    zero, one, half = splat(f32(0.0)), splat(f32(1.0)), splat(f32(0.5))
    if activation == GELU:
        return gelu16(x)
    if activation == GELU_10:
        return _clip(gelu16(x), f32(-10.0), f32(10.0))
    if activation == RELU:
        return where(x < zero, zero, x)
    if activation == RELU2:
        x = where(x < zero, zero, x)
        return x * x
    if activation == RELU6:
        return _clip(x, f32(0.0), f32(6.0))
    if activation == LEAKY_RELU:
        return where(zero < x, x, x * splat(_LEAK))
    if activation == HARDSWISH:
        return x * _clip(x + splat(f32(3.0)), f32(0.0), f32(6.0)) / splat(f32(6.0))
    if activation == SILU:
        return x / (one + exp(negative(x)))
    if activation == SIGMOID:
        return one / (one + exp(zero - x))
    if activation == QUICK_GELU:
        return x * (one / (one + exp(zero - splat(_QUICK) * x)))
    if activation >= TANH:
        inner = x
        if activation == GELU_NEW:
            inner = splat(SQRT_2_PI) * (x + splat(CUBIC) * (x * x * x))
        elif activation == GELU_PYTORCH_TANH:
            inner = splat(SQRT_2_PI) * fma(splat(CUBIC), x * x * x, x)
        elif activation == GELU_FAST:
            inner = (x * splat(_SQRT_2_PI_SHORT)) * (one + (splat(CUBIC) * x) * x)
        elif activation == MISH:
            inner = _log1p(exp(x))
        fused = activation == MISH or activation == GELU_PYTORCH_TANH  # one kernel in PyTorch, with a tanh of its own
        t = _tanh(inner) if fused else tanh16(inner)
        if activation == TANH:
            return t
        if activation == MISH:
            return x * t
        return (half * x) * (one + t)
    return x


@kernel
def _clip(x, low, high):
    return where(x < splat(low), splat(low), where(splat(high) < x, splat(high), x))


@kernel
def exp(x):
    """e^x of any x: `exp16`, infinite above 100."""
    return where(splat(f32(100.0)) < x, splat(_INFINITY), exp16(x))


@kernel
def _tanh(x):
    """Sleef's hyperbolic tangent: (e^|x| - e^-|x|) / (e^|x| + e^-|x|), each a float32 and a much smaller rest."""
    y = fabs(x)
    a, a_rest = _exp_doubled(y)
    b, b_rest = _reciprocal(a, a_rest)
    n = a - b
    n_rest = (((a - n) - b) + a_rest) - b_rest
    d, d_rest = _add_smaller(a, a_rest, b, b_rest)
    q, q_rest = _quotient(n, n_rest, d, d_rest)
    one = splat(f32(1.0))
    return copysign(where(splat(_ONE_BEYOND) < y, one, q + q_rest), x)


@kernel
def _log1p(x):
    """log(1 + x) for x >= 0; infinite above 1e38."""
    one, two = splat(f32(1.0)), splat(f32(2.0))
    e = shift_right(bits((x + one) * splat(f32(1 / 0.75))), 23) - splat_bits(np.int32(127))
    t = power_of_two(splat_bits(np.int32(0)) - e)
    m = fma(x, t, t - one)
    count = from_bits(e + splat_bits(TO_INTEGER_BITS)) - splat(TO_INTEGER)
    s, s_rest = _times(splat(_LN2), splat(_LN2_REST), count)
    d = two + m
    q, q_rest = _quotient(m, splat(f32(0.0)), d, (two - d) + m)
    square = q * q
    u = fma(splat(_L2), square, splat(_L1))
    u = fma(u, square, splat(_L0))
    s, s_rest = _add_smaller(s, s_rest, q * two, q_rest * two)
    u = (square * q) * u
    total = s + u
    y = total + (((s - total) + u) + s_rest)
    return where(splat(f32(1e38)) < x, splat(_INFINITY), y)


# Doubled floats, as in Sleef: a value and the rest that its rounding left.


@kernel
def _exp_doubled(x):
    q = rint(x * splat(LOG2_E))
    s, s_rest = _add(x, splat(f32(0.0)), q * splat(LN2_HIGH))
    s, s_rest = _add(s, s_rest, q * splat(LN2_LOW))
    u = fma(splat(_T3), s, splat(_T2))
    u = fma(u, s, splat(_T1))
    u = fma(u, s, splat(_T0))
    t, t_rest = _times(s, s_rest, u)
    t, t_rest = _add(t, t_rest, splat(_SIXTH))
    t, t_rest = _product(s, s_rest, t, t_rest)
    t, t_rest = _add(t, t_rest, splat(f32(0.5)))
    square = s * s
    square_rest = fma(s + s, s_rest, fma(s, s, negative(square)))
    t, t_rest = _product(square, square_rest, t, t_rest)
    u = s + t
    v = u - s
    t_rest = ((s - (u - v)) + (t - v)) + (s_rest + t_rest)
    one = splat(f32(1.0))
    y = one + u
    y_rest = ((one - y) + u) + t_rest
    n = integer_bits(q)
    half = shift_right(n, 1)
    low, high = power_of_two(half), power_of_two(n - half)
    return y * low * high, y_rest * low * high


@kernel
def _add(x, x_rest, y):
    s = x + y
    v = s - x
    return s, ((x - (s - v)) + (y - v)) + x_rest


@kernel
def _add_smaller(x, x_rest, y, y_rest):
    """The sum where |x| >= |y|."""
    s = x + y
    return s, (((x - s) + y) + x_rest) + y_rest


@kernel
def _times(x, x_rest, y):
    s = x * y
    return s, fma(x_rest, y, fma(x, y, negative(s)))


@kernel
def _product(x, x_rest, y, y_rest):
    s = x * y
    return s, fma(x, y_rest, fma(x_rest, y, fma(x, y, negative(s))))


@kernel
def _reciprocal(x, x_rest):
    one = splat(f32(1.0))
    s = one / x
    return s, s * fma(negative(x_rest), s, fma(negative(x), s, one))


@kernel
def _quotient(x, x_rest, y, y_rest):
    one = splat(f32(1.0))
    t = one / y
    s = x * t
    v = fma(negative(y_rest), t, fma(negative(y), t, one))
    return s, fma(s, v, fma(x_rest, t, fma(t, x, negative(s))))
