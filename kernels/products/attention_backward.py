"""The backward pass of attention, of one head over one sentence.

With p = softmax(q k^T scale), keep = what dropout multiplies p by, and delta = the row sums of dcontext * context:

    dv = (p keep)^T dcontext;  dp = dcontext v^T;  ds = p (dp keep - delta);  dq = ds k scale;  dk = ds^T q scale

Everything of n x n is computed transposed, [keys, queries], so that what belongs to a query is a lane and dk and dv are
products as they stand; so is dq^T = k^T ds^T, where ds^T is packed. Sums over keys lie in the forward pass's blocks,
and one block of keys is in memory at a time.
"""

from __future__ import annotations

import numpy as np

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.layout import KEYS
from minidistil.kernels.products.attention import exp_u20, pack_values, round_up, scale_row
from minidistil.kernels.products.gemm import chain_length, multiply, multiply_block
from minidistil.kernels.products.packing import pack_rows, store_packed, transpose
from minidistil.kernels.simd.memory import get_f32, load, load_first, set_f32, store
from minidistil.kernels.simd.philox import GROUP, keep_factors, lane_numbers
from minidistil.kernels.simd.values import first_lanes, fma, negative, splat, splat_bits, tree_sum

f32 = np.float32


@kernel
def attend_head_backward(
    q, k, v, ld_q, ld_k, ld_v, n, head_dim, scale, chance, site, first_row, context, ld_context, dcontext, ld_dcontext,
    greatest, reciprocals, dq, dk, dv, ld_out, scratch,
):  # fmt: skip
    """One head, one sentence; every array by its address.

    Args:
        q, k, v, context, dcontext: float32 [n, head_dim], rows of each so many elements apart.
        scale, chance, site, first_row, greatest, reciprocals: as in attention_kept.py.
        dq, dk, dv: float32 [n, head_dim], rows `ld_out` apart; overwritten.
        scratch: float32 [layout.backward_scratch(n, head_dim)].
    """
    padded, width = round_up(n, 16), round_up(head_dim, 16)
    ld, block, chain = (padded // 16 | 1) * 16, chain_length(padded), chain_length(head_dim)
    # pack_values may write some lanes beyond its end: what follows is written later.
    q_rows = scratch
    dcontext_rows = q_rows + n * width * 4
    q_columns = dcontext_rows + n * width * 4
    dcontext_columns = q_columns + padded * head_dim * 4
    statistics = dcontext_columns + padded * head_dim * 4
    k_columns = statistics + 3 * padded * 4
    dq_columns = k_columns + width * ld * 4
    scores = dq_columns + width * ld * 4
    dp = scores + KEYS * ld * 4
    result = dp + KEYS * ld * 4
    packed = result + KEYS * width * 4
    pack_values(q, ld_q, n, head_dim, width, block, q_rows)
    pack_values(dcontext, ld_dcontext, n, head_dim, width, block, dcontext_rows)
    pack_rows(q, ld_q, n, head_dim, q_columns, padded)
    pack_rows(dcontext, ld_dcontext, n, head_dim, dcontext_columns, padded)
    _spread_statistics(context, ld_context, dcontext, ld_dcontext, greatest, reciprocals, n, head_dim, statistics)
    transpose(k, ld_k, n, head_dim, k_columns, ld)
    for start in range(0, n, block):
        length = min(block, n - start)
        first = start
        while first < start + length:
            rows = min(GROUP - first % GROUP, start + length - first)  # dropout takes keys in such groups
            multiply(k + first * ld_k * 4, ld_k, rows, q_columns, padded, scores, ld, 0, head_dim, chain)
            multiply(v + first * ld_v * 4, ld_v, rows, dcontext_columns, padded, dp, ld, 0, head_dim, chain)
            _differentiate(
                scores, dp, ld, rows, first, padded, scale, statistics, chance, site, first_row, packed, length,
                first - start,
            )  # fmt: skip
            multiply(scores, ld, rows, dcontext_rows, width, result, width, 0, n, block)
            for r in range(rows):
                scale_row(result + r * width * 4, dv + (first + r) * ld_out * 4, head_dim, splat(f32(1.0)))
            multiply(dp, ld, rows, q_rows, width, result, width, 0, n, block)
            for r in range(rows):
                scale_row(result + r * width * 4, dk + (first + r) * ld_out * 4, head_dim, splat(scale))
            first += rows
        multiply_block(
            k_columns + start * 4, ld, head_dim, packed, 4, padded, dq_columns, ld, 0, length, start, packed, 0
        )  # fmt: skip
    dq_rows = packed  # float32 [padded, width]: no larger, as is what lies before it that nothing needs any more
    transpose(dq_columns, ld, head_dim, padded, dq_rows, width)
    for i in range(n):
        scale_row(dq_rows + i * width * 4, dq + i * ld_out * 4, head_dim, splat(scale))


@kernel
def _spread_statistics(context, ld_context, dcontext, ld_dcontext, greatest, reciprocals, n, head_dim, out):
    """Each query's greatest score, reciprocal and delta: float32 [3, n up to a multiple of sixteen], zero beyond n."""
    padded = round_up(n, 16)
    for i in range(n):
        total = splat(f32(0.0))
        x, y = context + i * ld_context * 4, dcontext + i * ld_dcontext * 4
        for j in range(0, head_dim, 16):
            mask = first_lanes(head_dim - j)
            total = fma(load_first(y, j, mask), load_first(x, j, mask), total)
        set_f32(out, i, get_f32(greatest, i))
        set_f32(out, padded + i, get_f32(reciprocals, i))
        set_f32(out, 2 * padded + i, tree_sum(total))
    for i in range(n, padded):
        for j in range(3):
            set_f32(out, j * padded + i, f32(0.0))


@kernel
def _differentiate(
    scores, dp, ld, rows, first, padded, scale, statistics, chance, site, first_row, packed, length, place
):
    """Scores become p keep and dp becomes ds, in place; ds goes to the packed block too. All of them transposed.

    Args:
        scores, dp: float32 [rows, padded], rows `ld` apart: of keys `first` and following, all in one group of dropout.
        packed: a block of so many keys, of which the first of these has number `place`.
    """
    group = first // GROUP * GROUP
    for i in range(0, padded, 16):
        highest, reciprocal = load(statistics, i), load(statistics, padded + i)
        minus_delta = negative(load(statistics, 2 * padded + i))
        if chance.threshold == 0:
            for r in range(rows):
                keep = splat(f32(1.0))
                _differentiate16(
                    scores, dp, ld, rows, r, i, scale, highest, reciprocal, minus_delta, keep, packed, length, padded,
                    place,
                )  # fmt: skip
        else:
            numbers = splat_bits(np.int32(first_row + i)) + lane_numbers()
            for j in range(16):
                keeps = keep_factors(chance, site, splat_bits(np.int32(group // 4 + j)), numbers)
                r = group + j - first
                _differentiate16(
                    scores, dp, ld, rows, r, i, scale, highest, reciprocal, minus_delta, keeps[0], packed, length,
                    padded, place,
                )  # fmt: skip
                _differentiate16(
                    scores, dp, ld, rows, r + 16, i, scale, highest, reciprocal, minus_delta, keeps[1], packed, length,
                    padded, place,
                )  # fmt: skip
                _differentiate16(
                    scores, dp, ld, rows, r + 32, i, scale, highest, reciprocal, minus_delta, keeps[2], packed, length,
                    padded, place,
                )  # fmt: skip
                _differentiate16(
                    scores, dp, ld, rows, r + 48, i, scale, highest, reciprocal, minus_delta, keeps[3], packed, length,
                    padded, place,
                )  # fmt: skip


@kernel
def _differentiate16(
    scores, dp, ld, rows, r, i, scale, highest, reciprocal, minus_delta, keep, packed, length, columns, place
):
    """Sixteen queries from i on of row r, where there is one."""
    if r < 0 or r >= rows:
        return
    at = r * ld + i
    p = exp_u20(load(scores, at) * splat(scale) - highest) * reciprocal
    ds = p * fma(load(dp, at), keep, minus_delta)
    store(scores, at, p * keep)
    store(dp, at, ds)
    store_packed(packed, length, columns, place + r, i, ds)
