"""Attention in training: with dropout, and keeping what its backward pass needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number
from minidistil.kernels.steps.training.dropout import Chance


class AttendKept(NamedTuple):
    """context = dropout(softmax(q k^T scale)) v, for each sentence and head; without dropout, Attend's bits.

    q, k, v, context: float32 [tokens, heads * head_dim]. offsets: int64 [sentences + 1]. statistics: address of float32
    [2, heads, tokens]: of every row of scores the greatest (scaled), and the reciprocal of the sum of exponentials.
    """

    q: Matrix
    k: Matrix
    v: Matrix
    context: Matrix
    heads: int
    head_dim: int
    scale: float
    sentences: Number
    offsets: Number
    tokens: Number
    statistics: Number
    dropout: Chance


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.products.attention_kept import attend_head_kept
    from minidistil.kernels.simd.memory import get_i64
    from minidistil.kernels.steps.team import next_task

    @part
    def attend_kept(o, member):
        while True:
            task = next_task(member)
            if task >= o.sentences * o.heads:
                break
            sentence, head = task // o.heads, task % o.heads
            first = get_i64(o.offsets, sentence)
            n = get_i64(o.offsets, sentence + 1) - first
            column, statistics = head * o.head_dim, o.statistics + (head * o.tokens + first) * 4
            attend_head_kept(
                o.q.address + (first * o.q.ld + column) * 4, o.k.address + (first * o.k.ld + column) * 4,
                o.v.address + (first * o.v.ld + column) * 4, o.q.ld, o.k.ld, o.v.ld, n, o.head_dim, o.scale,
                o.dropout, o.dropout.site + (head << 16), o.dropout.first_row + first,
                o.context.address + (first * o.context.ld + column) * 4, o.context.ld,
                statistics, statistics + o.heads * o.tokens * 4, member.scratch,
            )  # fmt: skip

    return attend_kept
