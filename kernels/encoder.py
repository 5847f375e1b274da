"""The whole forward pass in one compiled function, entered by every thread of a team.

A phase is one operation over all rows; its tasks are blocks of rows by panels of columns (products), sentences by heads
(attention) or blocks of rows (the rest), never slices of a sum. The threads meet after each phase.

Activations are float32 [T, leading dimension]: columns padded to whole panels, and a leading dimension that is no multiple
of 4096 bytes, so that the rows of a register tile fall into different cache sets (`leading_dimension`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidistil.kernels._compile import kernel, part
from minidistil.kernels.attention import attend, attention_scratch
from minidistil.kernels.embeddings import embed_rows
from minidistil.kernels.gemm import PANEL, ROW_BLOCK, copy_rows
from minidistil.kernels.layer_norm import SCRATCH as NORM_SCRATCH
from minidistil.kernels.layer_norm import add_normalize_rows, normalize_row
from minidistil.kernels.product import GELU, NO_ACTIVATION, product
from minidistil.kernels.simd import get_i64
from minidistil.kernels.team import COUNTERS, meet, next_task

# Columns of the table of addresses, one row a layer. Weights are packed, biases padded to whole panels.
QKV_WEIGHT, QKV_BIAS, OUT_WEIGHT, OUT_BIAS, SA_GAIN, SA_SHIFT = range(6)
LIN1_WEIGHT, LIN1_BIAS, LIN2_WEIGHT, LIN2_BIAS, OUTPUT_GAIN, OUTPUT_SHIFT = range(6, 12)
LAYER_ADDRESSES = 12

_PHASES_PER_LAYER = 10  # counters: the state that goes in, then the nine of `_layer`
_ROWS_PER_TASK = 8  # of the phases that work row by row


class Sizes(NamedTuple):
    """Numbers of one model: D, H, F, and the LayerNorms' epsilon."""

    dim: int
    heads: int
    hidden_dim: int
    eps: np.float32
    scale: np.float32  # 1 / sqrt(head_dim)


class Tokens(NamedTuple):
    """Addresses of one batch; 0 where there is none.

    word_ids, type_ids, position_ids: int32 [T]; offsets: int64 [B + 1]; rows: int64 [R], the tokens wanted of the last
    layer; row_offsets: int64 [B + 1], where each sentence's rows begin among the R; bias: float32 [B, bias_heads, S, S].
    """

    word_ids: int
    type_ids: int
    position_ids: int
    offsets: int
    sentences: int
    tokens: int
    rows: int
    row_offsets: int
    wanted: int
    bias: int
    bias_heads: int


class Tables(NamedTuple):
    """Addresses of the embeddings: words [V, D] (or [T, D] embeddings given), types [Y, D] or 0, positions [P, D]."""

    words: int
    types: int
    positions: int
    gain: int
    shift: int


class Workspace(NamedTuple):
    """Addresses of the activations, each float32 [T, its leading dimension], and of one scratch a thread.

    x: the residual stream; y: what a half-layer adds to it; qkv: queries, keys, values, side by side in whole panels.
    """

    x: int
    y: int
    qkv: int
    context: int
    hidden: int
    ld_x: int  # of x, y and context
    ld_qkv: int
    ld_hidden: int
    scratch: int
    scratch_floats: int  # a thread


class Outputs(NamedTuple):
    """Addresses of what the caller wants, 0 for what not.

    last: float32 [R, D] ([T, D] where no rows were asked for); hidden_states: float32 [L, T, D], what goes into each layer;
    attentions: float32, for each layer and sentence of n tokens [H, n, n], one after another; attention_offsets: int64
    [B + 1], where a sentence's begin within a layer.
    """

    last: int
    hidden_states: int
    attentions: int
    attention_offsets: int


def phases(layers: int) -> int:
    """Counters that `encode` needs for so many layers."""
    return 2 + layers * _PHASES_PER_LAYER


def team_memory(phase_count: int) -> np.ndarray:
    """Zeroed memory for a team, int64 [16 + phases] (see team.py)."""
    return np.zeros(COUNTERS + phase_count, np.int64)


def padded_columns(n: int) -> int:
    """Columns in whole panels."""
    return -(-n // PANEL) * PANEL


def leading_dimension(columns: int) -> int:
    """Elements between rows: whole cache lines, an odd number of them, so that rows spread over all cache sets."""
    lines = -(-columns // 16)
    return (lines + 1 - lines % 2) * 16


@kernel
def scratch_floats(longest, head_dim):
    """Floats of scratch that a thread needs for sentences of at most so many tokens."""
    return max(attention_scratch(longest, head_dim), NORM_SCRATCH, ROW_BLOCK * PANEL) + 16


@kernel
def encode(layers, sizes, tables, tokens, work, outputs, team, thread, threads):
    """Embeddings and all layers; every thread of the team calls it with the same arguments but `thread`.

    Args:
        layers: int64 [L, LAYER_ADDRESSES]; sizes, tables, tokens, work, outputs: see their types.
        team: address of team memory with `phases(L)` counters; thread: 0 to threads - 1.

    Returns:
        True, or False where the team was told to give up.
    """
    scratch = work.scratch + thread * work.scratch_floats * 4
    depth = layers.shape[0]
    _embed(sizes, tables, tokens, work, scratch, team)
    if not meet(team, threads):
        return False
    for i in range(depth):
        phase = 1 + i * _PHASES_PER_LAYER
        if outputs.hidden_states != 0:
            state = outputs.hidden_states + i * tokens.tokens * sizes.dim * 4
            _copy(work.x, work.ld_x, state, tokens.tokens, sizes.dim, team, phase)
        some = i == depth - 1 and tokens.rows != 0
        if not _layer(layers[i], sizes, tokens, work, outputs, i, some, scratch, team, phase + 1, threads):
            return False
    phase = 1 + depth * _PHASES_PER_LAYER
    if tokens.rows != 0:
        _copy(work.y, work.ld_x, outputs.last, tokens.wanted, sizes.dim, team, phase)
    else:
        _copy(work.x, work.ld_x, outputs.last, tokens.tokens, sizes.dim, team, phase)
    return meet(team, threads)


@part
def _layer(addresses, sizes, tokens, work, outputs, index, some, scratch, team, phase, threads):
    """One layer on the stream x. With `some`, only the wanted rows: they become a stream of their own in y, and x is spare."""
    n, ld = sizes.dim, work.ld_x
    panels, hidden_panels = (n + PANEL - 1) // PANEL, (sizes.hidden_dim + PANEL - 1) // PANEL
    rows = tokens.wanted if some else tokens.tokens
    stream, spare = (work.y, work.x) if some else (work.x, work.y)
    weight, bias = addresses[QKV_WEIGHT], addresses[QKV_BIAS]

    first = panels if some else 0  # with some rows, the keys and values of all tokens first
    product(
        work.x, ld, tokens.tokens, weight, bias, n, first, 3 * panels,
        work.qkv, work.ld_qkv, NO_ACTIVATION, team, phase,
    )  # fmt: skip
    if some:
        _gather(work.x, ld, tokens.rows, stream, rows, n, team, phase + 1)
        if not meet(team, threads):
            return False
        product(
            stream, ld, rows, weight, bias, n, 0, panels, work.qkv, work.ld_qkv, NO_ACTIVATION, team, phase + 2
        )
    if not meet(team, threads):
        return False

    _attention(sizes, tokens, work, outputs, index, some, panels * PANEL, scratch, team, phase + 3)
    if not meet(team, threads):
        return False
    weight, bias = addresses[OUT_WEIGHT], addresses[OUT_BIAS]
    product(work.context, ld, rows, weight, bias, n, 0, panels, spare, ld, NO_ACTIVATION, team, phase + 4)
    if not meet(team, threads):
        return False
    gain, shift = addresses[SA_GAIN], addresses[SA_SHIFT]
    _add_normalize(stream, spare, ld, rows, sizes, gain, shift, scratch, team, phase + 5)
    if not meet(team, threads):
        return False

    weight, bias = addresses[LIN1_WEIGHT], addresses[LIN1_BIAS]
    product(stream, ld, rows, weight, bias, n, 0, hidden_panels, work.hidden, work.ld_hidden, GELU, team, phase + 6)
    if not meet(team, threads):
        return False
    weight, bias, k = addresses[LIN2_WEIGHT], addresses[LIN2_BIAS], sizes.hidden_dim
    product(
        work.hidden, work.ld_hidden, rows, weight, bias, k, 0, panels, spare, ld, NO_ACTIVATION, team, phase + 7
    )
    if not meet(team, threads):
        return False
    gain, shift = addresses[OUTPUT_GAIN], addresses[OUTPUT_SHIFT]
    _add_normalize(stream, spare, ld, rows, sizes, gain, shift, scratch, team, phase + 8)
    return meet(team, threads)


@part
def _embed(sizes, tables, tokens, work, scratch, team):
    while True:
        first = next_task(team, 0) * _ROWS_PER_TASK
        if first >= tokens.tokens:
            return
        last = min(first + _ROWS_PER_TASK, tokens.tokens)
        embed_rows(
            first, last, tables.words, tokens.word_ids, tables.types, tokens.type_ids,
            tables.positions, tokens.position_ids, sizes.dim, work.x, work.ld_x,
        )  # fmt: skip
        for t in range(first, last):
            row = work.x + t * work.ld_x * 4
            normalize_row(row, sizes.dim, tables.gain, tables.shift, sizes.eps, scratch)


@part
def _attention(sizes, tokens, work, outputs, index, some, columns, scratch, team, phase):
    """A task is a sentence and a head; `columns` of padded queries come before the keys, as many keys before the values."""
    head_dim = sizes.dim // sizes.heads
    while True:
        task = next_task(team, phase)
        if task >= tokens.sentences * sizes.heads:
            return
        sentence, head = task // sizes.heads, task % sizes.heads
        start = get_i64(tokens.offsets, sentence)
        n = get_i64(tokens.offsets, sentence + 1) - start
        first, queries = start, n
        if some:
            first = get_i64(tokens.row_offsets, sentence)
            queries = get_i64(tokens.row_offsets, sentence + 1) - first
        q = work.qkv + (first * work.ld_qkv + head * head_dim) * 4
        k = work.qkv + (start * work.ld_qkv + columns + head * head_dim) * 4
        bias, probabilities = 0, 0
        if tokens.bias != 0:
            bias_head = head if tokens.bias_heads > 1 else 0
            bias = tokens.bias + (sentence * tokens.bias_heads + bias_head) * n * n * 4
        if outputs.attentions != 0:
            layer = index * get_i64(outputs.attention_offsets, tokens.sentences)
            place = layer + get_i64(outputs.attention_offsets, sentence) + head * n * n
            probabilities = outputs.attentions + place * 4
        attend(
            q, queries, k, k + columns * 4, work.ld_qkv, n, head_dim, sizes.scale, bias, n,
            work.context + (first * work.ld_x + head * head_dim) * 4, work.ld_x, probabilities, scratch,
        )  # fmt: skip


@part
def _add_normalize(x, y, ld, rows, sizes, gain, shift, scratch, team, phase):
    """x = LayerNorm(x + y)."""
    while True:
        first = next_task(team, phase) * _ROWS_PER_TASK
        if first >= rows:
            return
        count, place = min(_ROWS_PER_TASK, rows - first), first * ld * 4
        add_normalize_rows(x + place, ld, y + place, ld, count, sizes.dim, gain, shift, sizes.eps, scratch)


@part
def _copy(x, ld, out, rows, n, team, phase):
    while True:
        first = next_task(team, phase) * _ROWS_PER_TASK
        if first >= rows:
            return
        count = min(_ROWS_PER_TASK, rows - first)
        copy_rows(x + first * ld * 4, ld, out + first * n * 4, n, count, n)


@part
def _gather(x, ld, wanted, out, rows, n, team, phase):
    while True:
        i = next_task(team, phase)
        if i >= rows:
            return
        copy_rows(x + get_i64(wanted, i) * ld * 4, ld, out + i * ld * 4, ld, 1, n)
