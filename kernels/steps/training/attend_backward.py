"""The backward pass of attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number
from minidistil.kernels.steps.training.dropout import Chance


class AttendBackward(NamedTuple):
    """Gradients of q, k and v from that of the context; the probabilities are computed again from the statistics.

    q, k, v, context, dcontext: float32 [tokens, heads * head_dim]. dqkv: float32 [tokens, 3 heads * head_dim],
    overwritten: dq, dk and dv side by side. The rest is as in attend_kept.py.
    """

    q: Matrix
    k: Matrix
    v: Matrix
    context: Matrix
    dcontext: Matrix
    dqkv: Matrix
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
    from minidistil.kernels.products.attention_backward import attend_head_backward
    from minidistil.kernels.simd.memory import get_i64
    from minidistil.kernels.steps.team import next_task

    @part
    def attend_backward(o, member):
        while True:
            task = next_task(member)
            if task >= o.sentences * o.heads:
                break
            sentence, head = task // o.heads, task % o.heads
            first = get_i64(o.offsets, sentence)
            n = get_i64(o.offsets, sentence + 1) - first
            column, statistics = head * o.head_dim, o.statistics + (head * o.tokens + first) * 4
            out, apart = o.dqkv.address + (first * o.dqkv.ld + column) * 4, o.heads * o.head_dim * 4
            attend_head_backward(
                o.q.address + (first * o.q.ld + column) * 4, o.k.address + (first * o.k.ld + column) * 4,
                o.v.address + (first * o.v.ld + column) * 4, o.q.ld, o.k.ld, o.v.ld, n, o.head_dim, o.scale,
                o.dropout, o.dropout.site + (head << 16), o.dropout.first_row + first,
                o.context.address + (first * o.context.ld + column) * 4, o.context.ld,
                o.dcontext.address + (first * o.dcontext.ld + column) * 4, o.dcontext.ld,
                statistics, statistics + o.heads * o.tokens * 4, out, out + apart, out + 2 * apart, o.dqkv.ld,
                member.scratch,
            )  # fmt: skip

    return attend_backward
