"""Attention of one head over one sentence: softmax(q k^T scale) v without padding.

The order of sums is that of PyTorch's CPU flash kernel with all keys in one block (docs/arithmetic.md): a score is one
chain over head_dim (up to 192 wide, as in every product); the exponentials are summed in eight lanes and a tree; the
product with v follows the matrix product's rule for a length rounded up to a multiple of sixteen; the result is
multiplied by the rounded reciprocal of the sum.
"""

from __future__ import annotations

import numpy as np

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.layout import ATTENTION_ROWS
from minidistil.kernels.products.gemm import chain_length, multiply
from minidistil.kernels.products.packing import pack_rows
from minidistil.kernels.products.tile import ROWS, SLIVER
from minidistil.kernels.simd.gelu import integer_bits, power_of_two
from minidistil.kernels.simd.memory import get_f32, load, load_first, set_f32, store, store_first
from minidistil.kernels.simd.values import (
    first_lanes,
    floor,
    fma,
    high,
    low,
    maximum,
    negative,
    splat,
    splat8,
    tree_sum,
    where,
)

f32 = np.float32
QUERIES = ATTENTION_ROWS // ROWS * ROWS  # that share a pass, in whole tiles
_LOWEST = np.uint32(0xC2AEAC50).view(f32)  # below it exp is zero
_HIGHEST = np.uint32(0x42B17218).view(f32)
_LOG2_E = np.uint32(0x3FB8AA3B).view(f32)
_LN2 = np.uint32(0x3F317218).view(f32)
_E5, _E4, _E3 = f32(0.00828929059), f32(0.0418978221), f32(0.166676521)
_E2, _E1 = f32(0.499991506), f32(0.999999701)
_MINUS_INFINITY = f32(-np.inf)


@kernel
def exp_u20(x):
    """e^x to 20 units in the last place, sixteen lanes: a degree-5 polynomial after the reduction by ln 2."""
    one = splat(f32(1.0))
    s = where(x < splat(_LOWEST), splat(_LOWEST), x)
    s = where(splat(_HIGHEST) < s, splat(_HIGHEST), s)
    n = floor(fma(s, splat(_LOG2_E), splat(f32(0.5))))
    r = fma(negative(n), splat(_LN2), s)
    p = fma(splat(_E5), r, splat(_E4))
    p = fma(p, r, splat(_E3))
    p = fma(p, r, splat(_E2))
    p = fma(p, r, splat(_E1))
    p = fma(p, r, one)
    scale = where(x < splat(_LOWEST), splat(f32(0.0)), power_of_two(integer_bits(n - one)))
    return p * scale * splat(f32(2.0))


@kernel
def softmax_numerators(scores, n, scale, bias):
    """Turn n scores at an address into exponentials, in place; returns the greatest and the reciprocal of their sum.

    `bias` is the address of float32 [n] to add to the scaled scores, or 0. Elements from n up to a multiple of sixteen
    become zero; so do all of them where no key is attended to (every score is minus infinity, the greatest infinity).
    """
    greatest = splat(_MINUS_INFINITY)
    factor = splat(scale)
    for j in range(0, n, 16):
        mask = first_lanes(n - j)
        s = load(scores, j)
        s = fma(s, factor, load_first(bias, j, mask)) if bias != 0 else s * factor
        s = where(mask, s, splat(_MINUS_INFINITY))
        store(scores, j, s)
        greatest = where(greatest < s, s, greatest)
    highest = maximum(greatest)
    if highest == _MINUS_INFINITY:
        highest = f32(np.inf)  # every exponential becomes zero
    top = splat(highest)
    total = splat8(f32(0.0))
    for j in range(0, n, 16):
        e = where(first_lanes(n - j), exp_u20(load(scores, j) - top), splat(f32(0.0)))
        store(scores, j, e)
        total = total + low(e)
        total = total + high(e)
    sum_of_row = tree_sum(total)
    return highest, f32(1.0) / sum_of_row if sum_of_row != f32(0.0) else f32(1.0)


@kernel
def round_up(n, multiple):
    """The next multiple, or n itself."""
    return (n + multiple - 1) // multiple * multiple


@kernel
def attend_head(q, queries, k, v, ld, n, head_dim, scale, bias, ld_bias, context, ld_context, probabilities, scratch):
    """One head, one sentence; every array by its address.

    Args:
        q: float32 [queries, head_dim]; k, v: float32 [n, head_dim]; rows of all three are `ld` elements apart.
        scale: float32, 1 / sqrt(head_dim).
        bias: float32 [queries, n], rows `ld_bias` apart, added to the scaled scores; or 0.
        context: float32 [queries, head_dim], rows `ld_context` apart; overwritten.
        probabilities: float32 [queries, n], contiguous, overwritten; or 0.
        scratch: float32 [layout.attention_scratch(n, head_dim)].
    """
    padded, width = round_up(n, 16), round_up(head_dim, 16)
    score_chain, block = chain_length(head_dim), chain_length(padded)
    keys = scratch
    values = keys + padded * head_dim * 4
    scores = values + n * width * 4
    ld_scores = (padded // 16 + 1 | 1) * 16  # a place for the row's reciprocal; an odd number of cache lines
    result = scores + QUERIES * ld_scores * 4
    pack_rows(k, ld, n, head_dim, keys, padded)
    pack_values(v, ld, n, head_dim, width, block, values)
    for i in range(0, queries, QUERIES):
        rows = min(QUERIES, queries - i)
        multiply(q + i * ld * 4, ld, rows, keys, padded, scores, ld_scores, 0, head_dim, score_chain)
        for r in range(rows):
            row = scores + r * ld_scores * 4
            row_bias = bias + (i + r) * ld_bias * 4 if bias != 0 else 0
            _, reciprocal = softmax_numerators(row, n, scale, row_bias)
            set_f32(row, padded, reciprocal)
        multiply(scores, ld_scores, rows, values, width, result, width, 0, n, block)
        for r in range(rows):
            row = scores + r * ld_scores * 4
            factor = splat(get_f32(row, padded))
            scale_row(result + r * width * 4, context + (i + r) * ld_context * 4, head_dim, factor)
            if probabilities != 0:
                scale_row(row, probabilities + (i + r) * n * 4, n, factor)


@kernel
def scale_row(source, target, n, factor):
    """target = source times a factor (in every lane): float32 [n] both, by address."""
    for j in range(0, n, 16):
        mask = first_lanes(n - j)
        store_first(target, j, mask, load_first(source, j, mask) * factor)


@kernel
def pack_values(v, ld, n, head_dim, width, block, out):
    """v [n, head_dim], rows `ld` apart, as a packed B [n, width] in blocks of so many keys, zero beyond head_dim."""
    for first in range(0, n, block):
        length = min(block, n - first)
        for d in range(0, width, SLIVER):
            columns, sliver = min(SLIVER, width - d), out + (first * width + d * length) * 4
            for j in range(length):
                for i in range(0, columns, 16):
                    # What is written beyond its columns, the next row, the next sliver or the scores overwrite.
                    row = load_first(v, (first + j) * ld + d + i, first_lanes(head_dim - d - i))
                    store(sliver, j * columns + i, row)
