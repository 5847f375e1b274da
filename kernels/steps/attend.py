"""The attention of a layer between its products; a task is a sentence and a head, or a part of its queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class Attend(NamedTuple):
    """context = softmax(q k^T scale + bias) v, for each sentence and head.

    q, context: float32 [R, heads * head_dim], the queries of sentence b in rows q_offsets[b] to q_offsets[b + 1]; k, v:
    float32 [T, heads * head_dim], its keys in rows offsets[b] to offsets[b + 1]; both offsets int64 [sentences + 1] by
    address. bias: float32 [sentences, bias_heads, S, S], or 0. probabilities: float32, for each sentence of n tokens
    [heads, n, n], where places (int64 [sentences + 1]) says; or 0. With either, every token is a query.
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
    q_offsets: Number
    bias: Number
    bias_heads: Number
    probabilities: Number
    places: Number


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.products.ahead import Ahead
    from minidistil.kernels.products.attention import attend_head
    from minidistil.kernels.simd.memory import get_i64
    from minidistil.kernels.steps.share import even_block
    from minidistil.kernels.steps.team import next_task

    step = 24  # whole tiles of rows on the CPUs that have any, 8 or 4
    most_ahead = 1 << 19  # bytes of a head that are fetched: half of many a second-level cache

    @part
    def share_of(o, task, parts):
        """A task's sentence and head, where its keys and its queries are, and which of the sentence's these are."""
        sentence, head, some = task // (o.heads * parts), task // parts % o.heads, task % parts
        start, first = get_i64(o.offsets, sentence), get_i64(o.q_offsets, sentence)
        n = get_i64(o.offsets, sentence + 1) - start
        queries = get_i64(o.q_offsets, sentence + 1) - first
        height = ((queries + parts - 1) // parts + step - 1) // step * step
        before = min(some * height, queries)
        return sentence, head, start, n, first + before, min(height, queries - before), before

    @part
    def attend(o, member):
        # Shared out by how many queries a sentence has on average; each of its parts packs the head's keys anew.
        average = max((get_i64(o.q_offsets, o.sentences) + o.sentences - 1) // o.sentences, 1)
        block = even_block(average, average, step, o.sentences * o.heads, member.threads)
        parts = (average + block - 1) // block
        tasks = o.sentences * o.heads * parts
        while True:
            task = next_task(member)
            if task >= tasks:
                break
            sentence, head, start, n, first, queries, before = share_of(o, task, parts)
            if queries == 0:
                continue
            # Threads take turns, so a thread's next task is probably as many further on as there are threads.
            following = task + member.threads if task + member.threads < tasks else task
            _, head2, start2, keys, first2, queries2, _ = share_of(o, following, parts)
            if following == task or queries2 == 0 or (keys + queries2) * o.head_dim * 8 > most_ahead:
                keys = 0
            column2 = head2 * o.head_dim
            ahead = Ahead(
                o.k.address + (start2 * o.k.ld + column2) * 4, o.v.address + (start2 * o.v.ld + column2) * 4,
                o.q.address + (first2 * o.q.ld + column2) * 4,
                o.context.address + (first2 * o.context.ld + column2) * 4,
                keys, queries2, o.head_dim, o.k.ld, o.context.ld,
            )  # fmt: skip
            column, bias, probabilities = head * o.head_dim, 0, 0
            if o.bias != 0:
                bias_head = head if o.bias_heads > 1 else 0
                bias = o.bias + ((sentence * o.bias_heads + bias_head) * n + before) * n * 4
            if o.probabilities != 0:
                probabilities = o.probabilities + (get_i64(o.places, sentence) + (head * n + before) * n) * 4
            attend_head(
                o.q.address + (first * o.q.ld + column) * 4, queries,
                o.k.address + (start * o.k.ld + column) * 4, o.v.address + (start * o.v.ld + column) * 4, o.k.ld,
                n, o.head_dim, o.scale, bias, n,
                o.context.address + (first * o.context.ld + column) * 4, o.context.ld, probabilities, member.scratch,
                ahead,
            )  # fmt: skip

    return attend
