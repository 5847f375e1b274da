"""How far the inputs of products reach, column by column, told by the weights alone: a rough pass over a few words.

A few columns of a hidden state are many times as large as all others, of some tokens at least: of the first one, as a
rule, and of full stops. Which columns, no norm's gain tells, but the tables of embeddings do. So some words go through
the layers, those whose embeddings stand out most and others from all over the vocabulary. Of attention and activation a
rough likeness does. On all-MiniLM-L6-v2 that is worth as much as texts are (docs/quantization.md).

Every sum is of whole numbers in float64, below 2^53: the same on every CPU, with every BLAS, in every order.
"""

from __future__ import annotations

import numpy as np

from minidistil.weights._storage import release_pages
from minidistil.weights.model_weights import (
    AnyLinear,
    EmbeddingWeights,
    LayerWeights,
    ModelWeights,
    Norm,
)

_STANDING_OUT, _OTHERS = 32, 96  # words
_FIRST_POSITION = 2  # RoBERTa's; BERT's has come to rest there too
_OWN_SHARE = 0.3  # of a token's context; the rest is all tokens' together
_INPUT_BITS, _WEIGHT_BITS, _NORM_BITS = 15, 10, 20  # of the whole numbers that are added up
_ROWS = 1 << 18  # numbers that are rounded at a time


def estimated_ranges(weights: ModelWeights) -> dict[int, np.ndarray]:
    """The greatest magnitude in each column of a product's input, by the identity of the product's weights.

    Args:
        weights: float32.

    Returns:
        float32 [K] of each; nothing for MobileBERT, whose layers are others.
    """
    embeddings = weights.encoder.embeddings
    if not isinstance(embeddings, EmbeddingWeights):
        return {}
    found: dict[int, np.ndarray] = {}

    def product(x: np.ndarray, *linears: AnyLinear) -> np.ndarray:
        most = np.abs(x).max(axis=0).astype(np.float32)
        for w in linears:
            found[id(w)] = np.maximum(most, found.get(id(w), most))
        return _product(x, linears[-1])

    x = _embedded(embeddings)  # [n, E]
    if embeddings.projection is not None:
        x = product(x, embeddings.projection)  # [n, E] -> [n, D]
    for w in weights.encoder.layers:
        assert isinstance(w, LayerWeights)
        v = product(x, w.q_lin, w.k_lin, w.v_lin)  # [n, D]
        whole, unit = _whole(v, _NORM_BITS)
        context = _OWN_SHARE * v + (1 - _OWN_SHARE) / len(v) * unit * whole.sum(axis=0)
        h = _normalized(product(context, w.out_lin) + x, w.sa_layer_norm)
        inner = _activated(product(h, w.lin1))  # [n, F]
        x = _normalized(product(inner, w.lin2) + h, w.output_layer_norm)
    head = weights.masked_lm
    if head is not None:
        x = _normalized(_activated(product(x, head.vocab_transform)), head.vocab_layer_norm)
        found[id(head.vocab_projector)] = np.abs(x).max(axis=0).astype(np.float32)
    return found


def _embedded(w: EmbeddingWeights) -> np.ndarray:
    """Words as they enter the first layer: float64 [n, E]."""
    words = w.word_embeddings
    last = w.position_embeddings.shape[0] - 1
    common = w.position_embeddings[min(_FIRST_POSITION, last)].astype(np.float64)
    types = 0.0 if w.token_type_embeddings is None else w.token_type_embeddings[0].astype(np.float64)

    def at(ids: slice | np.ndarray, positions: np.ndarray) -> np.ndarray:
        return _normalized(words[ids].astype(np.float64) + positions + types, w.layer_norm)

    count = words.shape[0]
    step = max(1, _ROWS // words.shape[1])
    blocks = (slice(first, first + step) for first in range(0, count, step))
    greatest = np.concatenate([np.abs(at(block, common)).max(axis=1) for block in blocks])
    if isinstance(words, np.ndarray):
        release_pages(words)
    out = np.argsort(-greatest, kind="stable")[:_STANDING_OUT]
    others = np.arange(min(_OTHERS, count)) * count // min(_OTHERS, count)
    positions = w.position_embeddings[np.minimum(np.arange(len(others)) + _FIRST_POSITION, last)]
    return np.concatenate([at(out, common), at(others, positions.astype(np.float64))])


def _product(x: np.ndarray, w: AnyLinear) -> np.ndarray:
    """x W^T + b, nearly: float64 [n, K] -> [n, N]."""
    a, unit = _whole(x, _INPUT_BITS)
    y = np.empty((len(x), len(w.bias)))
    weight = w.weight
    step = max(1, _ROWS // weight.shape[1])
    for first in range(0, len(weight), step):
        rows = slice(first, first + step)
        b, own = _whole(weight[rows].astype(np.float64), _WEIGHT_BITS)
        y[:, rows] = (a @ b.T) * (unit * own)
        release_pages(weight[rows])
    return y + w.bias


def _normalized(x: np.ndarray, w: Norm) -> np.ndarray:
    """LayerNorm, nearly: float64 [n, D] -> [n, D]."""
    a, unit = _whole(x, _NORM_BITS)
    mean = a.sum(axis=1, keepdims=True) / a.shape[1]
    variance = np.square(a).sum(axis=1, keepdims=True) / a.shape[1] - mean * mean
    return (a - mean) / np.sqrt(np.maximum(variance, 0) + w.eps / unit**2) * w.weight + w.bias


def _activated(x: np.ndarray) -> np.ndarray:
    """About what GELU makes of it, without a function that libraries round in ways of their own: any shape."""
    t = 0.8 * x
    return 0.5 * x * (1 + t / np.sqrt(1 + t * t))


def _whole(x: np.ndarray, bits: int) -> tuple[np.ndarray, float]:
    """Whole numbers of at most 2^bits, as float64, and what one of them stands for, a power of two."""
    _, exponent = np.frexp(np.abs(x).max(initial=0))
    unit = 2.0 ** (int(exponent) - bits)
    return np.rint(x / unit), unit
