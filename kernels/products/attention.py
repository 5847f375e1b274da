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
from minidistil.kernels.products.ahead import MATRICES, multiply_fetching
from minidistil.kernels.products.gemm import chain_length
from minidistil.kernels.products.packing import pack_rows
from minidistil.kernels.products.tile import ROWS, SLIVER
from minidistil.kernels.simd.gelu import TO_INTEGER
from minidistil.kernels.simd.memory import get_f32, load, load8, load_first, set_f32, store, store_first
from minidistil.kernels.simd.values import (
    bits,
    first_lanes,
    floor,
    fma,
    from_bits,
    maximum,
    negative,
    shift_left,
    splat,
    splat8,
    tree_sum,
    where,
)

f32 = np.float32
QUERIES = ATTENTION_ROWS // ROWS * ROWS  # that share a pass, in whole tiles
_LOWEST = np.uint32(0xC2AEAC50).view(f32)  # below it exp is zero
_LOG2_E = np.uint32(0x3FB8AA3B).view(f32)
_LN2 = np.uint32(0x3F317218).view(f32)
_E5, _E4, _E3 = f32(0.00828929059), f32(0.0418978221), f32(0.166676521)
_E2, _E1 = f32(0.499991506), f32(0.999999701)
_TO_EXPONENT = f32(TO_INTEGER + f32(126))
_MINUS_INFINITY = f32(-np.inf)
_NEAR = 8192  # scores: 32 KB


@kernel
def exp_u20(x):
    """e^x to 20 units in the last place, of at most 0 (or NaN): a degree-5 polynomial after the reduction by ln 2.

    2^(n - 1) is n + 126 in an exponent's place, where a sum with 1.5 * 2^23 leaves it; zero for n = -126, as it is for
    all x from _LOWEST down.
    """
    s = where(x < splat(_LOWEST), splat(_LOWEST), x)
    n = floor(fma(s, splat(_LOG2_E), splat(f32(0.5))))
    r = fma(negative(n), splat(_LN2), s)
    p = fma(splat(_E5), r, splat(_E4))
    p = fma(p, r, splat(_E3))
    p = fma(p, r, splat(_E2))
    p = fma(p, r, splat(_E1))
    p = fma(p, r, splat(f32(1.0)))
    return p * from_bits(shift_left(bits(n + splat(_TO_EXPONENT)), 23)) * splat(f32(2.0))


@kernel
def softmax_numerators(scores, ld, rows, n, scale, bias, ld_bias, greatest, reciprocals):
    """Turn scores into exponentials, in place: float32 [rows, n], rows `ld` apart; all arrays by their addresses.

    Every pass is made over all rows that stay in the first-level cache together: no row waits for another's last sum.

    Args:
        scores: has room for n rounded up to a multiple of sixteen; what lies there becomes zero. So do all of a row
            where no key is attended to (every score is minus infinity, the greatest infinity).
        scale: float32 above zero, which the scores are multiplied by.
        bias: float32 [rows, n], rows `ld_bias` apart, added to the scaled scores; or 0.
        greatest, reciprocals: float32 [rows], each row's greatest and 1 / the sum of its exponentials; overwritten.
    """
    together = max(_NEAR // ld, 1)
    for first in range(0, rows, together):
        some, begin = min(together, rows - first), scores + first * ld * 4
        begin_bias = bias + first * ld_bias * 4 if bias != 0 else 0
        _find_greatest(begin, ld, some, n, scale, begin_bias, ld_bias, greatest + first * 4)
        # With a bias, scores have been scaled already.
        _take_exponentials(begin, ld, some, n, scale if bias == 0 else f32(1.0), greatest + first * 4)
        _sum_exponentials(begin, ld, some, n, reciprocals + first * 4)


@kernel
def _find_greatest(scores, ld, rows, n, scale, bias, ld_bias, greatest):
    """The greatest scaled score of each row; with a bias, scores are replaced by their sums with it."""
    whole, mask, factor = n - n % 16, first_lanes(n % 16), splat(scale)
    for r in range(rows):
        row, top = scores + r * ld * 4, splat(_MINUS_INFINITY)
        if bias != 0:
            row_bias = bias + r * ld_bias * 4
            for j in range(0, whole, 16):
                store(row, j, fma(load(row, j), factor, load(row_bias, j)))
            if whole < n:
                store(row, whole, fma(load(row, whole), factor, load_first(row_bias, whole, mask)))
        for j in range(0, whole, 16):
            s = load(row, j)
            top = where(top < s, s, top)
        if whole < n:
            s = where(mask, load(row, whole), splat(_MINUS_INFINITY))
            store(row, whole, s)
            top = where(top < s, s, top)
        highest = maximum(top)
        if bias == 0:
            highest *= scale  # of the greatest it is the greatest: rounding keeps an order
        if highest == _MINUS_INFINITY:
            highest = f32(np.inf)  # every exponential becomes zero
        set_f32(greatest, r, highest)


@kernel
def _take_exponentials(scores, ld, rows, n, scale, greatest):
    """e^(scale s - the row's greatest), in place."""
    factor = splat(scale)
    for r in range(rows):
        row, top = scores + r * ld * 4, splat(get_f32(greatest, r))
        for j in range(0, n, 16):
            store(row, j, exp_u20(load(row, j) * factor - top))


@kernel
def _sum_exponentials(scores, ld, rows, n, reciprocals):
    """The reciprocal of each row's sum, in eight lanes and a tree; 1 where it is zero."""
    for r in range(rows):
        row, total = scores + r * ld * 4, splat8(f32(0.0))
        for j in range(0, n, 16):
            total = total + load8(row, j)
            total = total + load8(row, j + 8)
        sum_of_row = tree_sum(total)
        set_f32(reciprocals, r, f32(1.0) / sum_of_row if sum_of_row != f32(0.0) else f32(1.0))


@kernel
def round_up(n, multiple):
    """The next multiple, or n itself."""
    return (n + multiple - 1) // multiple * multiple


@kernel
def attend_head(
    q, queries, k, v, ld, n, head_dim, scale, bias, ld_bias, context, ld_context, probabilities, scratch, ahead
):
    """One head, one sentence; every array by its address.

    Args:
        q: float32 [queries, head_dim]; k, v: float32 [n, head_dim]; rows of all three are `ld` elements apart.
        scale: float32, 1 / sqrt(head_dim).
        bias: float32 [queries, n], rows `ld_bias` apart, added to the scaled scores; or 0.
        context: float32 [queries, head_dim], rows `ld_context` apart; overwritten.
        probabilities: float32 [queries, n], contiguous, overwritten; or 0.
        scratch: float32 [layout.attention_scratch(n, head_dim)].
        ahead: an `Ahead`, to be fetched meanwhile; of no keys where nothing is.
    """
    padded, width = round_up(n, 16), round_up(head_dim, 16)
    score_chain, block = chain_length(head_dim), chain_length(padded)
    keys = scratch
    values = keys + padded * head_dim * 4
    scores = values + n * width * 4
    ld_scores = (padded // 16 | 1) * 16  # an odd number of cache lines
    result = scores + QUERIES * ld_scores * 4
    greatest = result + QUERIES * width * 4
    reciprocals = greatest + QUERIES * 4
    pack_rows(k, ld, n, head_dim, keys, padded)
    pack_values(v, ld, n, head_dim, width, block, values)
    done = (0 if ahead.keys > 0 else MATRICES, 0, 0)
    for i in range(0, queries, QUERIES):
        rows = min(QUERIES, queries - i)
        row_q = q + i * ld * 4
        done = multiply_fetching(row_q, ld, rows, keys, padded, scores, ld_scores, head_dim, score_chain, ahead, done)
        rows_bias = bias + i * ld_bias * 4 if bias != 0 else 0
        softmax_numerators(scores, ld_scores, rows, n, scale, rows_bias, ld_bias, greatest, reciprocals)
        done = multiply_fetching(scores, ld_scores, rows, values, width, result, width, n, block, ahead, done)
        for r in range(rows):
            factor = splat(get_f32(reciprocals, r))
            scale_row(result + r * width * 4, context + (i + r) * ld_context * 4, head_dim, factor)
            if probabilities != 0:
                scale_row(scores + r * ld_scores * 4, probabilities + (i + r) * n * 4, n, factor)


@kernel
def scale_row(source, target, n, factor):
    """target = source times a factor (in every lane): float32 [n] both, by address."""
    whole = n - n % 16
    for j in range(0, whole, 16):
        store(target, j, load(source, j) * factor)
    if whole < n:
        mask = first_lanes(n - whole)
        store_first(target, whole, mask, load_first(source, whole, mask) * factor)


@kernel
def pack_values(v, ld, n, head_dim, width, block, out):
    """v [n, head_dim], rows `ld` apart, as a packed B [n, width] in blocks of so many keys, zero beyond head_dim."""
    for first in range(0, n, block):
        length = min(block, n - first)
        for d in range(0, width, SLIVER):
            columns, sliver = min(SLIVER, width - d), out + (first * width + d * length) * 4
            there = head_dim - d
            whole = min(columns, max(there, 0) // 16 * 16)
            for j in range(length):
                at = (first + j) * ld + d
                # What is written beyond its columns, the next row, the next sliver or the scores overwrite.
                for i in range(0, whole, 16):
                    store(sliver, j * columns + i, load(v, at + i))
                for i in range(whole, columns, 16):
                    store(sliver, j * columns + i, load_first(v, at + i, first_lanes(there - i)))
