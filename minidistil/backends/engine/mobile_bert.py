"""Embeddings and layer of MobileBERT as steps, to be read beside reference/mobile_bert.py."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.backends.engine.planner import (
    POSITION_IDS,
    TYPE_IDS,
    WANTED,
    WANTED_ROWS,
    WORD_IDS,
    Array,
    Planner,
)
from minidistil.kernels.steps.table import Variable
from minidistil.weights.model_weights import MobileEmbeddingWeights, MobileLayerWeights

NEXT_IDS, PREVIOUS_IDS = Variable("next_ids"), Variable("previous_ids")


def embed(p: Planner, w: MobileEmbeddingWeights) -> Array:
    """What enters the first layer: [T] -> [T, D]."""
    D, E = p.config.dim, p.config.embedding_size
    columns = 3 * E if w.trigrams else E
    stream = p.buffer("x", D)
    x = stream if w.projection is None else p.buffer("hidden", columns)
    positions = p.look_up("positions", w.position_embeddings, POSITION_IDS)
    types = p.look_up("token types", w.token_type_embeddings, TYPE_IDS)
    words = w.word_embeddings
    if w.trigrams:  # the next, the own and the previous word's, side by side
        p.put_words(words, NEXT_IDS, into=x.slice(0, E), meets=False)
        p.put_words(words, WORD_IDS, into=x.slice(E, E), meets=False)
        p.put_words(words, PREVIOUS_IDS, into=x.slice(2 * E, E))
    else:
        p.put_words(words, WORD_IDS, into=x)
    if w.projection is not None:
        x = p.linear("projection", x, p.weight("embeddings.projection"), into=stream)  # [T, E or 3 E] -> [T, D]
    norm = p.norm("embeddings.layer_norm", w.layer_norm)
    return p.sum("embedding norm", x, positions, types, into=x, norm=norm)  # [T, D]


def layer(p: Planner, x: Array, w: MobileLayerWeights, at: str, some: bool) -> Array:
    """One layer: narrow, attention, feed-forwards, wide again: [T, D] -> [T, D].

    With `some`, from the attention on of the wanted rows only: [R, D].
    """
    D, F, inner_width = p.config.dim, p.config.hidden_dim, p.config.attention_size
    a, s = p.buffer("a", inner_width), p.buffer("s", inner_width)
    y, context = p.buffer("y", D), p.buffer("context", inner_width)
    qkv = p.buffer("qkv", *[inner_width] * 3)
    entry, shared = w.input_bottleneck, w.attention_bottleneck

    h = queried = x
    if entry is not None:
        narrow = p.buffer("h", inner_width)
        h = p.linear("bottlenecks", x, p.weight(f"{at}.input_bottleneck"), into=narrow, meets=shared is None)
    if shared is not None:
        queried = p.linear("bottlenecks", x, p.weight(f"{at}.attention_bottleneck"), into=a)  # [T, D] -> [T, I]
    if entry is not None:
        norm = p.norm(f"{at}.input_bottleneck_norm", entry.norm)
        h = p.sum("bottleneck norms", h, into=h, norm=norm, meets=shared is None)  # [T, D] -> [T, I]
    if shared is not None:
        norm = p.norm(f"{at}.attention_bottleneck_norm", shared.norm)
        queried = p.sum("bottleneck norms", queried, into=queried, norm=norm)
    if w.attends_to_input:
        queried = h
    valued = h if w.attends_to_input else x
    p.linear("q, k, v", queried, p.weight(f"{at}.qk"), into=qkv.parts(0, 2), meets=False)  # [T, I or D] -> [T, 2 I]
    p.linear("q, k, v", valued, p.weight(f"{at}.v_lin"), into=qkv.parts(2))  # [T, D or I] -> [T, I]
    context = p.attend(qkv.parts(0, 1), qkv.parts(1, 2), qkv.parts(2), into=context)  # [T, I]
    if some:
        wide, h_is_x = x, h is x
        x = p.sum("wanted rows", x.at(WANTED_ROWS), into=y, rows=WANTED, meets=False)  # [T, D] -> [R, D]
        if not h_is_x:
            h = p.sum("wanted rows", h.at(WANTED_ROWS), into=a, rows=WANTED, meets=False)  # [T, I] -> [R, I]
        context, s = p.sum("wanted rows", context.at(WANTED_ROWS), into=s, rows=WANTED), context
        h, y = x if h_is_x else h, wide
    attended = p.linear("out_lin", context, p.weight(f"{at}.out_lin"), into=s)
    h = p.sum("sa_layer_norm", h, attended, into=h, norm=p.norm(f"{at}.sa_layer_norm", w.sa_layer_norm))
    for n, network in enumerate(w.feed_forwards):
        name, inner = f"{at}.feed_forwards.{n}", p.buffer("hidden", F)
        inner = p.linear("lin1 + activation", h, p.weight(f"{name}.lin1"), into=inner, activation=p.config.activation)
        out = p.linear("lin2", inner, p.weight(f"{name}.lin2"), into=s)  # [T, F] -> [T, I]
        h = p.sum("feed-forward norm", h, out, into=h, norm=p.norm(f"{name}.norm", network.norm))
    if w.output_bottleneck is None:
        return h
    out = p.linear("output bottleneck", h, p.weight(f"{at}.output_bottleneck"), into=y)  # [T, I] -> [T, D]
    return p.sum("output norm", x, out, into=x, norm=p.norm(f"{at}.output_bottleneck_norm", w.output_bottleneck.norm))


def neighbours(batch: PackedBatch) -> Mapping[str, np.ndarray]:
    """The ids int32 [T] of the tokens beside each in its sentence, -1 beyond its ends; rows where words are given."""
    ids = np.arange(batch.tokens, dtype=np.int32) if batch.input_ids is None else batch.input_ids
    following, previous = np.empty_like(ids), np.empty_like(ids)
    following[:-1], previous[1:] = ids[1:], ids[:-1]
    following[batch.offsets[1:] - 1] = previous[batch.offsets[:-1]] = -1
    return {NEXT_IDS.name: following, PREVIOUS_IDS.name: previous}
