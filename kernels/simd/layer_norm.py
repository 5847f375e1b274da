"""LayerNorm, with the moments summed in eight lanes whatever the CPU (PyTorch's RowwiseMoments on AVX2).

Welford's recurrence runs lane by lane over chunks of sixteen vectors, each chunk from zero; chunks are merged in pairs
like the carries of a binary counter; then the lanes are merged one by one, lane 0 first. Elements beyond the last whole
vector come before the lanes, one by one, their squares unfused.
"""

from __future__ import annotations

import numpy as np

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.simd.memory import get_f32, load, load8, load_first, set_f32, store, store_first
from minidistil.kernels.simd.values import (
    first_lanes,
    fma,
    fma_scalar,
    lane,
    negative,
    splat,
    splat8,
    sqrt_scalar,
    tree_sum,
    where,
)

f32 = np.float32
_CHUNK = 16  # vectors of eight lanes
_LEVELS = 8  # 2^8 chunks of 128 elements: rows of up to 32,768
_RECIPROCALS = np.float32(1) / np.arange(1, _CHUNK + 1, dtype=np.float32)


@kernel
def _merge(level, count, mean, square):
    """Merge (count, mean, square) into the level's own by the pairwise rule, its mean unfused."""
    own = get_f32(level, 16)
    total = own + count
    if total == f32(0.0):
        return
    c = splat8(count / total)
    own_mean = load8(level, 0)
    delta = mean - own_mean
    step = c * delta
    store(level, 0, own_mean + step)
    store(level, 8, fma(delta * splat8(own), step, load8(level, 8) + square))
    set_f32(level, 16, total)


@kernel
def _clear(level):
    store(level, 0, splat8(f32(0.0)))
    store(level, 8, splat8(f32(0.0)))
    set_f32(level, 16, f32(0.0))


@kernel
def moments(x, n, scratch):
    """Mean and sum of squared deviations of float32 [n] at an address; scratch: address of float32 [_LEVELS, 17].

    In it a level has eight lanes of means, eight of squares, and the count.
    """
    vectors = n // 8
    chunks = (vectors + _CHUNK - 1) // _CHUNK
    depth = 0
    while (1 << depth) < chunks:
        depth += 1
    for j in range(max(depth, 1)):
        _clear(scratch + j * 17 * 4)
    for i in range(chunks):
        count = min(_CHUNK, vectors - i * _CHUNK)
        mean = splat8(f32(0.0))
        square = splat8(f32(0.0))
        for j in range(count):
            value = load8(x, (i * _CHUNK + j) * 8)
            delta = value - mean
            mean = fma(splat8(_RECIPROCALS[j]), delta, mean)
            square = fma(delta, value - mean, square)
        _merge(scratch, f32(count), mean, square)
        mask = i + 1
        j = 1
        while j < depth and mask & 1 == 0:
            lower = scratch + (j - 1) * 17 * 4
            _merge(scratch + j * 17 * 4, get_f32(lower, 16), load8(lower, 0), load8(lower, 8))
            _clear(lower)
            mask >>= 1
            j += 1
    for j in range(1, depth):
        upper = scratch + j * 17 * 4
        _merge(scratch, get_f32(upper, 16), load8(upper, 0), load8(upper, 8))

    total = f32(0.0)
    mean1 = f32(0.0)
    square1 = f32(0.0)
    for i in range(vectors * 8, n):
        value1 = get_f32(x, i)
        delta1 = value1 - mean1
        total += f32(1.0)
        mean1 = mean1 + delta1 / total
        square1 = square1 + delta1 * (value1 - mean1)
    lanes_mean, lanes_square = load8(scratch, 0), load8(scratch, 8)
    each = f32(vectors)
    for j in range(8):
        delta1 = lane(lanes_mean, j) - mean1
        c1 = each / (total + each)
        mean1 = fma_scalar(c1, delta1, mean1)
        square1 = square1 + fma_scalar(delta1 * delta1 * c1, total, lane(lanes_square, j))
        total += each
    return mean1, square1


@kernel
def normalize_row(row, out, n, gain, shift, eps, scratch):
    """out = (x - mean) / sqrt(var + eps) * gain + shift of one row of n elements; returns mean and 1 / sqrt(var + eps).

    Arrays by their addresses; out may be the row itself.
    """
    mean, square = moments(row, n, scratch)
    rstd = f32(1.0) / sqrt_scalar(square / f32(n) + eps)
    center, scale = splat(mean), splat(rstd)
    whole = n - n % 16
    for j in range(0, whole, 16):
        store(out, j, fma((load(row, j) - center) * scale, load(gain, j), load(shift, j)))
    if whole < n:
        mask = first_lanes(n - whole)
        x = (load_first(row, whole, mask) - center) * scale
        y = fma(x, load_first(gain, whole, mask), load_first(shift, whole, mask))
        store_first(out, whole, mask, y)
    return mean, rstd


@kernel
def normalize_row_backward(dy, more, x, out, n, mean, rstd, gain):
    """out = (g - mean(g) - x^ mean(g x^)) rstd, where g = (dy + more) gain and x^ = (x - mean) rstd, of one row.

    Both means are sums in sixteen lanes, then 8 + 8, 4 + 4, ...; `more` may be 0, out may be dy or more.
    """
    center, scale, zero = splat(mean), splat(rstd), splat(f32(0.0))
    whole, mask = n - n % 16, first_lanes(n % 16)
    a, b = zero, zero
    for j in range(0, whole, 16):
        g = _sum16(dy, more, j) * load(gain, j)
        a = a + g
        b = fma(g, (load(x, j) - center) * scale, b)
    if whole < n:
        g = _sum_first(dy, more, whole, mask) * load_first(gain, whole, mask)
        a = a + g
        b = fma(g, where(mask, (load_first(x, whole, mask) - center) * scale, zero), b)
    mean_g, mean_both = splat(tree_sum(a) / f32(n)), splat(tree_sum(b) / f32(n))
    for j in range(0, whole, 16):
        g = _sum16(dy, more, j) * load(gain, j)
        hat = (load(x, j) - center) * scale
        store(out, j, fma(negative(hat), mean_both, g - mean_g) * scale)
    if whole < n:
        g = _sum_first(dy, more, whole, mask) * load_first(gain, whole, mask)
        hat = (load_first(x, whole, mask) - center) * scale
        store_first(out, whole, mask, fma(negative(hat), mean_both, g - mean_g) * scale)


@kernel
def _sum16(x, y, j):
    """Sixteen lanes of x, and of y added where it is there, by their addresses."""
    return load(x, j) + load(y, j) if y != 0 else load(x, j)


@kernel
def _sum_first(x, y, j, mask):
    """The same of the lanes of the mask, the others zero."""
    return load_first(x, j, mask) + load_first(y, j, mask) if y != 0 else load_first(x, j, mask)
