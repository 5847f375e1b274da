"""MobileBERT in plain NumPy: its embeddings and its layer, to be read beside model.py, which runs them.

"MobileBERT: a Compact Task-Agnostic BERT for Resource-Limited Devices" (Sun et al., 2020). Inside a layer everything is
narrow: a bottleneck leads from D to I columns, another one back, and between them stand an attention and several
feed-forwards. A word's embedding is made of three, its own and its neighbours'. LayerNorm is left out, but for its gain
and its shift.

Legend as in model.py; `I` width between the bottlenecks, `d` = I / H.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.backends.reference.operations import Operations
from minidistil.weights.model_weights import MobileEmbeddingWeights, MobileLayerWeights, NoNorm, Norm, Normalized

Attend = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, tuple[np.ndarray, ...]]]


def embed(ops: Operations, w: MobileEmbeddingWeights, batch: PackedBatch) -> np.ndarray:
    """What enters the first layer: [T] -> [T, D]."""
    x = w.word_embeddings[batch.input_ids] if batch.inputs_embeds is None else batch.inputs_embeds  # [T] -> [T, E]
    if w.trigrams:
        x = trigrams(x, batch.offsets)  # [T, E] -> [T, 3 E]
    if w.projection is not None:
        x = ops.linear(x, w.projection)  # [T, E or 3 E] -> [T, D]
    types = np.zeros_like(batch.position_ids) if batch.token_type_ids is None else batch.token_type_ids
    x = x + w.position_embeddings[batch.position_ids]  # [T, D]
    return normalize(ops, x + w.token_type_embeddings[types], w.layer_norm)  # [T, D]


def trigrams(x: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The next, the own and the previous embedding of every token; zeros where a sentence ends: [T, E] -> [T, 3 E]."""
    following, previous = np.zeros_like(x), np.zeros_like(x)
    following[:-1], previous[1:] = x[1:], x[:-1]
    following[offsets[1:] - 1] = 0  # each sentence's last token
    previous[offsets[:-1]] = 0  # and first
    return np.concatenate([following, x, previous], axis=1)


def layer(
    ops: Operations, x: np.ndarray, w: MobileLayerWeights, activation: str, attend: Attend
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """One layer: narrow, attention, feed-forwards, wide again.

    Args:
        ops: of operations.py.
        x: float32 [T, D].
        w: of the layer.
        activation: of the feed-forwards.
        attend: attention over queries, keys and values float32 [T, I].

    Returns:
        float32 [T, D], and the attention's probabilities by sentence.
    """
    h = x if w.input_bottleneck is None else _narrow(ops, x, w.input_bottleneck)  # [T, D] -> [T, I]
    queried = valued = h if w.attends_to_input else x
    if w.attention_bottleneck is not None:
        queried = _narrow(ops, x, w.attention_bottleneck)  # [T, D] -> [T, I]
    q, k = ops.linear(queried, w.q_lin), ops.linear(queried, w.k_lin)  # [T, I] -> [T, I]
    v = ops.linear(valued, w.v_lin)  # [T, D or I] -> [T, I]
    context, probabilities = attend(q, k, v)  # [T, I]
    h = normalize(ops, ops.linear(context, w.out_lin) + h, w.sa_layer_norm)  # [T, I] -> [T, I]
    for network in w.feed_forwards:
        inner = ops.activation(activation, ops.linear(h, network.lin1))  # [T, I] -> [T, F]
        h = normalize(ops, ops.linear(inner, network.lin2) + h, network.norm)  # [T, F] -> [T, I]
    if w.output_bottleneck is None:
        return h, probabilities
    wide = ops.linear(h, w.output_bottleneck.linear)  # [T, I] -> [T, D]
    return normalize(ops, wide + x, w.output_bottleneck.norm), probabilities  # [T, D]


def normalize(ops: Operations, x: np.ndarray, w: Norm | NoNorm) -> np.ndarray:
    """A LayerNorm, or x gamma + beta, rounded twice, in its place: [T, N] -> [T, N]."""
    return ops.layer_norm(x, w) if isinstance(w, Norm) else x * w.weight + w.bias


def _narrow(ops: Operations, x: np.ndarray, w: Normalized) -> np.ndarray:
    return normalize(ops, ops.linear(x, w.linear), w.norm)
