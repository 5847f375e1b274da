"""Sums of columns: gradients of biases and of LayerNorm's weights, over rows in increasing order.

A column takes the totals of blocks of rows one after another; each is made from zero, row after row.
"""

from __future__ import annotations

import numpy as np

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.simd.memory import get_f32, load, load_first, store, store_first
from minidistil.kernels.simd.values import first_lanes, fma, splat

f32 = np.float32
GROUP = 64  # columns that are summed at a time: whole cache lines, and four chains side by side


@kernel
def add_columns(x, ld, rows, n, out, block):
    """out += the sum of x's rows, in blocks of so many; float32 [rows, n], rows `ld` apart, and [n], by address."""
    whole, zero = n - n % GROUP, splat(f32(0.0))
    for first in range(0, rows, max(block, 1)):
        end = min(first + block, rows)
        for j in range(0, whole, GROUP):
            s0, s1, s2, s3 = zero, zero, zero, zero
            for i in range(first, end):
                row = i * ld + j
                s0 = s0 + load(x, row)
                s1 = s1 + load(x, row + 16)
                s2 = s2 + load(x, row + 32)
                s3 = s3 + load(x, row + 48)
            store(out, j, load(out, j) + s0)
            store(out, j + 16, load(out, j + 16) + s1)
            store(out, j + 32, load(out, j + 32) + s2)
            store(out, j + 48, load(out, j + 48) + s3)
        for j in range(whole, n, 16):
            mask, s0 = first_lanes(n - j), zero
            for i in range(first, end):
                s0 = s0 + load_first(x, i * ld + j, mask)
            store_first(out, j, mask, load_first(out, j, mask) + s0)


@kernel
def add_norm_columns(dy, more, x, ld_dy, ld_more, ld_x, moments, rows, n, gain, shift, block):
    """gain += the sum over rows of d x^, by fma, and shift += the sum of d, as `add_columns` has it.

    d = dy + more and x^ = (x - mean) rstd; float32 [rows, n] by their addresses, `more` perhaps 0; moments: address of
    float32 [rows, 2], mean and rstd of each row; gain, shift: addresses of float32 [n].
    """
    zero = splat(f32(0.0))
    for first in range(0, rows, max(block, 1)):
        end = min(first + block, rows)
        for j in range(0, n, 16):
            mask, s, t = first_lanes(n - j), zero, zero
            for i in range(first, end):
                d = load_first(dy, i * ld_dy + j, mask)
                if more != 0:
                    d = d + load_first(more, i * ld_more + j, mask)
                hat = load_first(x, i * ld_x + j, mask) - splat(get_f32(moments, 2 * i))
                t = fma(d, hat * splat(get_f32(moments, 2 * i + 1)), t)
                s = s + d
            store_first(gain, j, mask, load_first(gain, j, mask) + t)
            store_first(shift, j, mask, load_first(shift, j, mask) + s)
