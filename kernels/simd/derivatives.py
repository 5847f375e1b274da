"""The backward pass of activations, sixteen lanes at a time.

Orders of operations and roundings are those of `minidistil.backends.reference.learning.activations`.
"""

from __future__ import annotations

import numpy as np

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.layout import GELU, GELU_NEW, RELU, SILU, TANH
from minidistil.kernels.simd.activations import CUBIC, SQRT_2_PI, exp
from minidistil.kernels.simd.gelu import FAR, normal16
from minidistil.kernels.simd.memory import load, load_first, store, store_first
from minidistil.kernels.simd.tanh import tanh16
from minidistil.kernels.simd.values import first_lanes, fma, negative, splat, where

f32 = np.float32
_DENSITY = f32(1 / np.sqrt(2 * np.pi))
_CUBIC_3 = f32(3 * 0.044715)


@kernel
def backward_row(dy, x, out, value, n, activation):
    """out = dy f'(x) and value = f(x), float32 [n] each, by their addresses.

    Args:
        dy, x: what they are called; out may be dy, and value x.
        value: 0 where f(x) is not wanted.
        activation: the number of f, one of layout.DIFFERENTIATED.
    """
    whole = n - n % 16
    if activation == GELU:
        for j in range(0, whole, 16):
            y, slope = _gelu16(load(x, j))
            store(out, j, load(dy, j) * slope)
            if value != 0:
                store(value, j, y)
    else:
        for j in range(0, whole, 16):
            y, slope = _value_and_slope16(load(x, j), activation)
            store(out, j, load(dy, j) * slope)
            if value != 0:
                store(value, j, y)
    if whole < n:
        mask = first_lanes(n - whole)
        y, slope = _value_and_slope16(load_first(x, whole, mask), activation)
        store_first(out, whole, mask, load_first(dy, whole, mask) * slope)
        if value != 0:
            store_first(value, whole, mask, y)


@kernel
def _value_and_slope16(x, activation):
    """f(x) and f'(x) of sixteen lanes."""
    zero, one, half = splat(f32(0.0)), splat(f32(1.0)), splat(f32(0.5))
    if activation == GELU:
        return _gelu16(x)
    if activation == RELU:
        return where(x < zero, zero, x), where(zero < x, one, where(x < zero, zero, x + zero))
    if activation == SILU:
        e = one + exp(negative(x))
        s = one / e
        return x / e, s * fma(x, one - s, one)
    if activation == TANH:
        t = tanh16(x)
        return t, fma(negative(t), t, one)
    if activation == GELU_NEW:
        t = tanh16(splat(SQRT_2_PI) * (x + splat(CUBIC) * (x * x * x)))
        flat = fma(negative(t), t, one)
        halved = half * (one + t)
        inner = splat(SQRT_2_PI) * fma(splat(_CUBIC_3), x * x, one)
        slope = where(zero < flat, fma((half * x) * flat, inner, halved), halved)
        return (half * x) * (one + t), slope
    return x, one


@kernel
def _gelu16(x):
    half = splat(f32(0.5))
    doubled, e, square = normal16(x)
    below = half * doubled
    slope = where(splat(FAR) < square, below, fma(x * splat(_DENSITY), e, below))
    return x * half * doubled, slope
