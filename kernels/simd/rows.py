"""Sums of rows."""

from __future__ import annotations

import numpy as np

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.simd.memory import load, load_first, store, store_first
from minidistil.kernels.simd.values import first_lanes, splat

f32 = np.float32


@kernel
def sum_row(a, b, c, n, gain, shift, out):
    """out = ((a + b) + c) gain + shift, rounded after every operation; out may be one of the others.

    Args:
        a, b, c: addresses of float32 [n], or 0 for zeros.
        gain, shift: the same; without a gain the sum is left as it is.
        out: address of float32 [n].
    """
    whole = n - n % 16
    for j in range(0, whole, 16):
        x = load(a, j) if a != 0 else splat(f32(0.0))
        if b != 0:
            x = x + load(b, j)
        if c != 0:
            x = x + load(c, j)
        if gain != 0:
            x = x * load(gain, j) + load(shift, j)
        store(out, j, x)
    if whole < n:
        mask = first_lanes(n - whole)
        x = load_first(a, whole, mask) if a != 0 else splat(f32(0.0))
        if b != 0:
            x = x + load_first(b, whole, mask)
        if c != 0:
            x = x + load_first(c, whole, mask)
        if gain != 0:
            x = x * load_first(gain, whole, mask) + load_first(shift, whole, mask)
        store_first(out, whole, mask, x)
