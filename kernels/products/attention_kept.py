"""Attention of one head over one sentence in training: with dropout, and keeping what the backward pass needs."""

from __future__ import annotations

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.products.attention import QUERIES, pack_values, round_up, scale_row, softmax_numerators
from minidistil.kernels.products.gemm import chain_length, multiply
from minidistil.kernels.products.packing import pack_rows
from minidistil.kernels.simd.memory import get_f32
from minidistil.kernels.simd.philox import drop_row
from minidistil.kernels.simd.values import splat


@kernel
def attend_head_kept(
    q, k, v, ld_q, ld_k, ld_v, n, head_dim, scale, chance, site, first_row, context, ld_context, greatest, reciprocals,
    scratch,
):  # fmt: skip
    """One head, one sentence; every array by its address.

    Args:
        q, k, v: float32 [n, head_dim], rows of each so many elements apart.
        scale: float32, 1 / sqrt(head_dim).
        chance: of a probability to be dropped, at this site; the sentence's rows have numbers from `first_row` on.
        context: float32 [n, head_dim], rows `ld_context` apart; overwritten.
        greatest, reciprocals: float32 [n], of each row of scores; overwritten.
        scratch: float32 [layout.attention_scratch(n, head_dim)].
    """
    padded, width = round_up(n, 16), round_up(head_dim, 16)
    score_chain, block = chain_length(head_dim), chain_length(padded)
    keys = scratch
    values = keys + padded * head_dim * 4
    scores = values + n * width * 4
    ld_scores = (padded // 16 | 1) * 16
    result = scores + QUERIES * ld_scores * 4
    pack_rows(k, ld_k, n, head_dim, keys, padded)
    pack_values(v, ld_v, n, head_dim, width, block, values)
    for i in range(0, n, QUERIES):
        rows = min(QUERIES, n - i)
        multiply(q + i * ld_q * 4, ld_q, rows, keys, padded, scores, ld_scores, 0, head_dim, score_chain)
        softmax_numerators(scores, ld_scores, rows, n, scale, 0, 0, greatest + i * 4, reciprocals + i * 4)
        for r in range(rows if chance.threshold != 0 else 0):
            row = scores + r * ld_scores * 4
            drop_row(row, row, n, chance, site, first_row + i + r)
        multiply(scores, ld_scores, rows, values, width, result, width, 0, n, block)
        for r in range(rows):
            factor = splat(get_f32(reciprocals, i + r))
            scale_row(result + r * width * 4, context + (i + r) * ld_context * 4, head_dim, factor)
