"""The whole forward pass in one compiled function, entered by every thread of a team.

A phase is one operation over all rows; its tasks are blocks of rows by panels of columns (products), sentences by heads
(attention) or blocks of rows (the rest), never slices of a sum. The threads meet after each phase.

Activations are float32 [T, leading dimension]: columns padded to whole panels, and a leading dimension that is no
multiple of 4096 bytes, so that the rows of a register tile fall into different cache sets (`leading_dimension`).
"""

from __future__ import annotations

from minidistil.kernels._compile import kernel, part
from minidistil.kernels.attention import attend
from minidistil.kernels.embeddings import embed_rows
from minidistil.kernels.gemm import copy_rows
from minidistil.kernels.layer_norm import add_normalize_rows, normalize_row
from minidistil.kernels.layout import (
    LAYER_ADDRESSES,
    LIN1_BIAS,
    LIN1_WEIGHT,
    LIN2_BIAS,
    LIN2_WEIGHT,
    LINEAR_ACTIVATION,
    OUT_BIAS,
    OUT_WEIGHT,
    OUTPUT_GAIN,
    OUTPUT_SHIFT,
    PANEL,
    PHASES_PER_LAYER,
    QKV_BIAS,
    QKV_WEIGHT,
    SA_GAIN,
    SA_SHIFT,
)
from minidistil.kernels.memory import get_i64
from minidistil.kernels.product import product
from minidistil.kernels.team import end_phase, next_task

ROWS_PER_TASK = 4  # of the phases that work row by row


@kernel
def encode(sizes, tables, tokens, work, outputs, team, thread, threads):
    """Embeddings and all layers; every thread of the team calls it with the same arguments but `thread`.

    Args:
        sizes, tables, tokens, work, outputs: see layout.py.
        team: address of team memory with `encoder_phases(L)` counters; thread: 0 to threads - 1.

    Returns:
        True, or False where the team was told to give up.
    """
    scratch = work.scratch + thread * work.scratch_floats * 4
    depth = sizes.depth
    _embed(sizes, tables, tokens, work, scratch, team)
    if not end_phase(team, threads, outputs.clock, 0):
        return False
    if tables.projection_weight != 0:
        product(
            work.hidden, work.ld_hidden, tokens.tokens, tables.projection_weight, tables.projection_bias,
            sizes.embedding_size, 0, (sizes.dim + PANEL - 1) // PANEL, work.x, work.ld_x, LINEAR_ACTIVATION,
            team, 2 + depth * PHASES_PER_LAYER,
        )  # fmt: skip
        if not end_phase(team, threads, outputs.clock, 2 + depth * PHASES_PER_LAYER):
            return False
    for i in range(depth):
        phase = 1 + i * PHASES_PER_LAYER
        if outputs.hidden_states != 0:
            state = outputs.hidden_states + i * tokens.tokens * sizes.dim * 4
            copy_all(work.x, work.ld_x, state, tokens.tokens, sizes.dim, team, phase)
        some = i == depth - 1 and tokens.rows != 0
        addresses = tables.layers + i * LAYER_ADDRESSES * 8
        if not _layer(
            addresses, sizes, tokens, work, outputs, i, some, scratch, team, phase + 1, threads
        ):  # fmt: skip
            return False
    phase = 1 + depth * PHASES_PER_LAYER
    if tokens.rows != 0:
        copy_all(work.y, work.ld_x, outputs.last, tokens.wanted, sizes.dim, team, phase)
    else:
        copy_all(work.x, work.ld_x, outputs.last, tokens.tokens, sizes.dim, team, phase)
    return end_phase(team, threads, outputs.clock, phase)


@part
def _layer(addresses, sizes, tokens, work, outputs, index, some, scratch, team, phase, threads):
    """One layer on the stream x. With `some`, only the wanted rows: a stream of their own in y, and x is spare."""
    n, ld = sizes.dim, work.ld_x
    panels, hidden_panels = (n + PANEL - 1) // PANEL, (sizes.hidden_dim + PANEL - 1) // PANEL
    rows = tokens.wanted if some else tokens.tokens
    stream, spare = (work.y, work.x) if some else (work.x, work.y)
    clock = outputs.clock
    weight, bias = get_i64(addresses, QKV_WEIGHT), get_i64(addresses, QKV_BIAS)

    first = panels if some else 0  # with some rows, the keys and values of all tokens first
    product(
        work.x, ld, tokens.tokens, weight, bias, n, first, 3 * panels,
        work.qkv, work.ld_qkv, LINEAR_ACTIVATION, team, phase,
    )  # fmt: skip
    if some:
        gather(work.x, ld, tokens.rows, stream, rows, n, team, phase + 1)
        if not end_phase(team, threads, clock, phase + 1):
            return False
        product(stream, ld, rows, weight, bias, n, 0, panels, work.qkv, work.ld_qkv, LINEAR_ACTIVATION, team, phase + 2)
    if not end_phase(team, threads, clock, phase + 2):
        return False

    attend_all(n, sizes, tokens, work, work.ld_x, outputs, index, some, scratch, team, phase + 3)
    if not end_phase(team, threads, clock, phase + 3):
        return False
    weight, bias = get_i64(addresses, OUT_WEIGHT), get_i64(addresses, OUT_BIAS)
    product(work.context, ld, rows, weight, bias, n, 0, panels, spare, ld, LINEAR_ACTIVATION, team, phase + 4)
    if not end_phase(team, threads, clock, phase + 4):
        return False
    gain, shift = get_i64(addresses, SA_GAIN), get_i64(addresses, SA_SHIFT)
    _add_normalize(stream, spare, ld, rows, sizes, gain, shift, scratch, team, phase + 5)
    if not end_phase(team, threads, clock, phase + 5):
        return False

    weight, bias = get_i64(addresses, LIN1_WEIGHT), get_i64(addresses, LIN1_BIAS)
    product(
        stream, ld, rows, weight, bias, n, 0, hidden_panels,
        work.hidden, work.ld_hidden, sizes.activation, team, phase + 6,
    )  # fmt: skip
    if not end_phase(team, threads, clock, phase + 6):
        return False
    weight, bias, k = get_i64(addresses, LIN2_WEIGHT), get_i64(addresses, LIN2_BIAS), sizes.hidden_dim
    product(
        work.hidden, work.ld_hidden, rows, weight, bias, k, 0, panels, spare, ld, LINEAR_ACTIVATION, team, phase + 7
    )
    if not end_phase(team, threads, clock, phase + 7):
        return False
    gain, shift = get_i64(addresses, OUTPUT_GAIN), get_i64(addresses, OUTPUT_SHIFT)
    _add_normalize(stream, spare, ld, rows, sizes, gain, shift, scratch, team, phase + 8)
    return end_phase(team, threads, clock, phase + 8)


@part
def _embed(sizes, tables, tokens, work, scratch, team):
    """Embeddings, normalized: into x, or where they are to be projected into it, into `hidden`."""
    projected = tables.projection_weight != 0
    target, ld = (work.hidden, work.ld_hidden) if projected else (work.x, work.ld_x)
    while True:
        first = next_task(team, 0) * ROWS_PER_TASK
        if first >= tokens.tokens:
            return
        last = min(first + ROWS_PER_TASK, tokens.tokens)
        embed_rows(
            first, last, tables.words, tokens.word_ids, tables.types, tokens.type_ids,
            tables.positions, tokens.position_ids, sizes.embedding_size, target, ld,
        )  # fmt: skip
        for t in range(first, last):
            row = target + t * ld * 4
            normalize_row(row, sizes.embedding_size, tables.gain, tables.shift, sizes.eps, scratch)


@part
def attend_all(width, sizes, tokens, work, ld_context, outputs, index, some, scratch, team, phase):
    """The attention of a layer, all heads of which are `width` wide together; a task is a sentence and a head.

    Queries, keys and values lie side by side in work.qkv, each in whole panels. With `some`, queries are the wanted
    rows'.
    """
    head_dim = width // sizes.heads
    columns = (width + PANEL - 1) // PANEL * PANEL
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
            work.context + (first * ld_context + head * head_dim) * 4, ld_context, probabilities, scratch,
        )  # fmt: skip


@part
def _add_normalize(x, y, ld, rows, sizes, gain, shift, scratch, team, phase):
    """x = LayerNorm(x + y)."""
    while True:
        first = next_task(team, phase) * ROWS_PER_TASK
        if first >= rows:
            return
        count, place = min(ROWS_PER_TASK, rows - first), first * ld * 4
        add_normalize_rows(x + place, ld, y + place, ld, count, sizes.dim, gain, shift, sizes.eps, scratch)


@part
def copy_all(x, ld, out, rows, n, team, phase):
    """Copy rows of n elements, `ld` apart, to contiguous ones."""
    while True:
        first = next_task(team, phase) * ROWS_PER_TASK
        if first >= rows:
            return
        count = min(ROWS_PER_TASK, rows - first)
        copy_rows(x + first * ld * 4, ld, out + first * n * 4, n, count, n)


@part
def gather(x, ld, wanted, out, rows, n, team, phase):
    """Copy the wanted rows (int64 [rows]) to the beginning of `out`."""
    while True:
        i = next_task(team, phase)
        if i >= rows:
            return
        copy_rows(x + get_i64(wanted, i) * ld * 4, ld, out + i * ld * 4, ld, 1, n)
