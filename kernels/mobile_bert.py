"""MobileBERT's forward pass in one compiled function, entered by every thread of a team; see encoder.py.

A layer is narrow between two bottlenecks: queries, keys, values and what the attention's result is added to come each
from a product of their own; several feed-forwards follow; the last product leads back to the stream.
"""

from __future__ import annotations

from minidistil.kernels._compile import kernel, part
from minidistil.kernels.calls import read_part
from minidistil.kernels.encoder import ROWS_PER_TASK, attend_all, copy_all, gather
from minidistil.kernels.gemm import copy_rows
from minidistil.kernels.layer_norm import normalize_row
from minidistil.kernels.layout import (
    ENCODE_MOBILE_BERT,
    INNER_GAIN,
    INNER_OUT_BIAS,
    INNER_OUT_WEIGHT,
    INNER_SHIFT,
    INPUT_BIAS,
    INPUT_GAIN,
    INPUT_SHIFT,
    INPUT_WEIGHT,
    LINEAR_ACTIVATION,
    MOBILE_ADDRESSES,
    MOBILE_EMBEDDING_PHASES,
    MOBILE_PHASES,
    NETWORK_ADDRESSES,
    NETWORK_PHASES,
    PANEL,
    QK_BIAS,
    QK_WEIGHT,
    SHARED_BIAS,
    SHARED_GAIN,
    SHARED_SHIFT,
    SHARED_WEIGHT,
    V_BIAS,
    V_WEIGHT,
    WIDE_BIAS,
    WIDE_GAIN,
    WIDE_SHIFT,
    WIDE_WEIGHT,
)
from minidistil.kernels.memory import get_i32, get_i64, load_first, set_f32, store_first
from minidistil.kernels.product import product
from minidistil.kernels.simd import first_lanes
from minidistil.kernels.team import end_phase, next_task

# Addresses of a feed-forward, from its first.
_LIN1_WEIGHT, _LIN1_BIAS, _LIN2_WEIGHT, _LIN2_BIAS, _GAIN, _SHIFT = range(NETWORK_ADDRESSES)


@kernel
def encode_mobile_bert(call, thread, threads):
    """Embeddings and all layers; every thread of the team calls it with the same arguments but `thread`.

    An entry (entries.py), and no part of one as encoder.py's is: that halves the time it takes to compile.

    Args:
        call: address of what layout.ENCODE_MOBILE_BERT says, the team with `mobile_encoder_phases` counters.
        thread: 0 to threads - 1.

    Returns:
        True, or False where the team was told to give up.
    """
    parts = ENCODE_MOBILE_BERT
    sizes, tables, tokens = read_part(call, parts, 0), read_part(call, parts, 1), read_part(call, parts, 2)
    work, outputs, team = read_part(call, parts, 3), read_part(call, parts, 4), read_part(call, parts, 5).memory
    scratch = work.scratch + thread * work.scratch_floats * 4
    depth, clock = sizes.depth, outputs.clock
    layer_phases = MOBILE_PHASES + NETWORK_PHASES * sizes.feed_forwards
    if not _embed(sizes, tables, tokens, work, scratch, team, depth * layer_phases, clock, threads):
        return False
    layer_addresses = MOBILE_ADDRESSES + NETWORK_ADDRESSES * sizes.feed_forwards
    for i in range(depth):
        phase = i * layer_phases
        if outputs.hidden_states != 0:
            state = outputs.hidden_states + i * tokens.tokens * sizes.dim * 4
            copy_all(work.x, work.ld_x, state, tokens.tokens, sizes.dim, team, phase)
        some = i == depth - 1 and tokens.rows != 0
        addresses = tables.layers + i * layer_addresses * 8
        if not _layer(addresses, sizes, tokens, work, outputs, i, some, scratch, team, phase, threads):
            return False
    phase = depth * layer_phases + MOBILE_EMBEDDING_PHASES
    if tokens.rows != 0:
        copy_all(work.y, work.ld_x, outputs.last, tokens.wanted, sizes.dim, team, phase)
    else:
        copy_all(work.x, work.ld_x, outputs.last, tokens.tokens, sizes.dim, team, phase)
    return end_phase(team, threads, clock, phase)


@part
def _layer(addresses, sizes, tokens, work, outputs, index, some, scratch, team, phase, threads):
    """One layer on the stream x. With `some`, from the attention on only the wanted rows: their stream is in y."""
    clock, rows, width = outputs.clock, tokens.tokens, sizes.attention_size
    x, y, ld_x, h, s, ld_h = work.x, work.y, work.ld_x, work.h, work.s, work.ld_h
    panels, wide_panels = (width + PANEL - 1) // PANEL, (sizes.dim + PANEL - 1) // PANEL
    if get_i64(addresses, INPUT_WEIGHT) == 0:  # no bottleneck
        h, ld_h = x, ld_x

    if not _narrow(addresses, sizes, work, rows, scratch, team, phase, clock, threads):
        return False
    from_h, shared = sizes.attends_to_input != 0, get_i64(addresses, SHARED_WEIGHT) != 0
    queried, ld_queried = (work.a, ld_h) if shared else (h, ld_h) if from_h else (x, ld_x)
    k = width if shared or from_h else sizes.dim
    product(
        queried, ld_queried, rows, get_i64(addresses, QK_WEIGHT), get_i64(addresses, QK_BIAS), k, 0, 2 * panels,
        work.qkv, work.ld_qkv, LINEAR_ACTIVATION, team, phase + 5,
    )  # fmt: skip
    valued, ld_valued, k = (h, ld_h, width) if from_h else (x, ld_x, sizes.dim)
    product(
        valued, ld_valued, rows, get_i64(addresses, V_WEIGHT), get_i64(addresses, V_BIAS), k, 0, panels,
        work.qkv + 2 * panels * PANEL * 4, work.ld_qkv, LINEAR_ACTIVATION, team, phase + 6,
    )  # fmt: skip
    if not end_phase(team, threads, clock, phase + 6):
        return False

    attend_all(width, sizes, tokens, work, work.ld_h, outputs, index, False, scratch, team, phase + 7)
    if not end_phase(team, threads, clock, phase + 7):
        return False
    context = work.context
    if some:
        rows = tokens.wanted
        gather(x, ld_x, tokens.rows, y, rows, sizes.dim, team, phase + 8)
        gather(context, work.ld_h, tokens.rows, s, rows, width, team, phase + 9)
        if h != x:
            gather(h, ld_h, tokens.rows, work.a, rows, width, team, phase + 10)
        if not end_phase(team, threads, clock, phase + 10):
            return False
        h = y if h == x else work.a
        x, y, s, context = y, x, context, s
    out_weight, out_bias = get_i64(addresses, INNER_OUT_WEIGHT), get_i64(addresses, INNER_OUT_BIAS)
    product(
        context,
        work.ld_h,
        rows,
        out_weight,
        out_bias,
        width,
        0,
        panels,
        s,
        work.ld_h,
        LINEAR_ACTIVATION,
        team,
        phase + 11,
    )
    if not end_phase(team, threads, clock, phase + 11):
        return False
    gain, shift = get_i64(addresses, INNER_GAIN), get_i64(addresses, INNER_SHIFT)
    _add_norm(h, ld_h, s, work.ld_h, rows, width, gain, shift, sizes.eps, sizes.no_norm, scratch, team, phase + 12)
    if not end_phase(team, threads, clock, phase + 12):
        return False

    for n in range(sizes.feed_forwards):
        network = addresses + (MOBILE_ADDRESSES + n * NETWORK_ADDRESSES) * 8
        eps = sizes.outer_eps if n == sizes.feed_forwards - 1 else sizes.eps
        first = phase + 13 + n * NETWORK_PHASES
        if not _feed_forward(network, sizes, work, h, ld_h, s, rows, eps, scratch, team, first, clock, threads):
            return False
    if get_i64(addresses, WIDE_WEIGHT) == 0:
        return True
    phase += 13 + sizes.feed_forwards * NETWORK_PHASES
    weight, bias = get_i64(addresses, WIDE_WEIGHT), get_i64(addresses, WIDE_BIAS)
    product(h, ld_h, rows, weight, bias, width, 0, wide_panels, y, ld_x, LINEAR_ACTIVATION, team, phase)
    if not end_phase(team, threads, clock, phase):
        return False
    gain, shift = get_i64(addresses, WIDE_GAIN), get_i64(addresses, WIDE_SHIFT)
    _add_norm(x, ld_x, y, ld_x, rows, sizes.dim, gain, shift, sizes.eps, sizes.no_norm, scratch, team, phase + 1)
    return end_phase(team, threads, clock, phase + 1)


@part
def _narrow(addresses, sizes, work, rows, scratch, team, phase, clock, threads):
    """The bottlenecks that lead into a layer: from x to h, and to what queries and keys are made of, a."""
    k, n = sizes.dim, sizes.attention_size
    panels = (n + PANEL - 1) // PANEL
    weight, bias = get_i64(addresses, INPUT_WEIGHT), get_i64(addresses, INPUT_BIAS)
    shared_weight, shared_bias = get_i64(addresses, SHARED_WEIGHT), get_i64(addresses, SHARED_BIAS)
    if weight == 0:
        return True
    product(work.x, work.ld_x, rows, weight, bias, k, 0, panels, work.h, work.ld_h, LINEAR_ACTIVATION, team, phase + 1)
    if shared_weight != 0:
        product(
            work.x, work.ld_x, rows, shared_weight, shared_bias, k, 0, panels,
            work.a, work.ld_h, LINEAR_ACTIVATION, team, phase + 2,
        )  # fmt: skip
    if not end_phase(team, threads, clock, phase + 2):
        return False
    gain, shift, ld = get_i64(addresses, INPUT_GAIN), get_i64(addresses, INPUT_SHIFT), work.ld_h
    _add_norm(work.h, ld, 0, ld, rows, n, gain, shift, sizes.eps, sizes.no_norm, scratch, team, phase + 3)
    if shared_weight != 0:
        gain, shift = get_i64(addresses, SHARED_GAIN), get_i64(addresses, SHARED_SHIFT)
        _add_norm(work.a, ld, 0, ld, rows, n, gain, shift, sizes.eps, sizes.no_norm, scratch, team, phase + 4)
    return end_phase(team, threads, clock, phase + 4)


@part
def _feed_forward(network, sizes, work, h, ld_h, s, rows, eps, scratch, team, phase, clock, threads):
    """h = norm(h + lin2(activation(lin1(h))))."""
    n, k = sizes.attention_size, sizes.hidden_dim
    weight, bias = get_i64(network, _LIN1_WEIGHT), get_i64(network, _LIN1_BIAS)
    product(
        h, ld_h, rows, weight, bias, n, 0, (k + PANEL - 1) // PANEL,
        work.hidden, work.ld_hidden, sizes.activation, team, phase,
    )  # fmt: skip
    if not end_phase(team, threads, clock, phase):
        return False
    weight, bias = get_i64(network, _LIN2_WEIGHT), get_i64(network, _LIN2_BIAS)
    product(
        work.hidden, work.ld_hidden, rows, weight, bias, k, 0, (n + PANEL - 1) // PANEL,
        s, work.ld_h, LINEAR_ACTIVATION, team, phase + 1,
    )  # fmt: skip
    if not end_phase(team, threads, clock, phase + 1):
        return False
    gain, shift = get_i64(network, _GAIN), get_i64(network, _SHIFT)
    _add_norm(h, ld_h, s, work.ld_h, rows, n, gain, shift, eps, sizes.no_norm, scratch, team, phase + 2)
    return end_phase(team, threads, clock, phase + 2)


@part
def _embed(sizes, tables, tokens, work, scratch, team, phase, clock, threads):
    """x = norm((projection(words) + position) + token type)."""
    projected = tables.projection_weight != 0
    target, ld = (work.hidden, work.ld_hidden) if projected else (work.x, work.ld_x)
    while True:
        sentence = next_task(team, phase)
        if sentence >= tokens.sentences:
            break
        first, end = get_i64(tokens.offsets, sentence), get_i64(tokens.offsets, sentence + 1)
        _look_up(first, end, tables.words, tokens.word_ids, sizes.embedding_size, sizes.trigrams, target, ld)
    if not end_phase(team, threads, clock, phase):
        return False
    if projected:
        k = 3 * sizes.embedding_size if sizes.trigrams != 0 else sizes.embedding_size
        product(
            work.hidden, work.ld_hidden, tokens.tokens, tables.projection_weight, tables.projection_bias,
            k, 0, (sizes.dim + PANEL - 1) // PANEL, work.x, work.ld_x, LINEAR_ACTIVATION, team, phase + 1,
        )  # fmt: skip
        if not end_phase(team, threads, clock, phase + 1):
            return False
    while True:
        first = next_task(team, phase + 2) * ROWS_PER_TASK
        if first >= tokens.tokens:
            break
        for t in range(first, min(first + ROWS_PER_TASK, tokens.tokens)):
            row = work.x + t * work.ld_x * 4
            kind = get_i32(tokens.type_ids, t) if tokens.type_ids != 0 else 0
            _add(row, tables.positions + get_i32(tokens.position_ids, t) * sizes.dim * 4, sizes.dim)
            other = tables.types + kind * sizes.dim * 4
            _norm_row(row, other, sizes.dim, tables.gain, tables.shift, sizes.outer_eps, sizes.no_norm, scratch)
    return end_phase(team, threads, clock, phase + 2)


@kernel
def _look_up(first, end, words, word_ids, n, trigrams, out, ld_out):
    """Embeddings of one sentence's tokens; of trigrams the next, the own and the previous, zeros beyond its ends."""
    for t in range(first, end):
        row = out + t * ld_out * 4
        if trigrams == 0:
            _copy_word(words, word_ids, t, n, row)
            continue
        if t + 1 < end:
            _copy_word(words, word_ids, t + 1, n, row)
        else:
            _clear(row, n)
        _copy_word(words, word_ids, t, n, row + n * 4)
        if t > first:
            _copy_word(words, word_ids, t - 1, n, row + 2 * n * 4)
        else:
            _clear(row + 2 * n * 4, n)


@part
def _copy_word(words, word_ids, t, n, out):
    """The embedding of token t: a row of the table, or, where `word_ids` is 0, the token's own."""
    copy_rows(words + (get_i32(word_ids, t) if word_ids != 0 else t) * n * 4, n, out, n, 1, n)


@part
def _clear(row, n):
    for j in range(n):
        set_f32(row, j, 0.0)


@kernel
def _add_norm(x, ld_x, y, ld_y, rows, n, gain, shift, eps, no_norm, scratch, team, phase):
    """x = norm(x + y), or norm(x) where y is 0: rows of n elements."""
    while True:
        first = next_task(team, phase) * ROWS_PER_TASK
        if first >= rows:
            return
        for i in range(first, min(first + ROWS_PER_TASK, rows)):
            other = y + i * ld_y * 4 if y != 0 else 0
            _norm_row(x + i * ld_x * 4, other, n, gain, shift, eps, no_norm, scratch)


@kernel
def _norm_row(row, other, n, gain, shift, eps, no_norm, scratch):
    """One row, in place: a LayerNorm, or gain and shift only, each rounded by itself."""
    if no_norm == 0:
        if other != 0:
            _add(row, other, n)
        normalize_row(row, n, gain, shift, eps, scratch)
        return
    for j in range(0, n, 16):
        mask = first_lanes(n - j)
        x = load_first(row, j, mask)
        if other != 0:
            x = x + load_first(other, j, mask)
        store_first(row, j, mask, x * load_first(gain, j, mask) + load_first(shift, j, mask))


@part
def _add(row, other, n):
    for j in range(0, n, 16):
        mask = first_lanes(n - j)
        store_first(row, j, mask, load_first(row, j, mask) + load_first(other, j, mask))
