"""Embeddings and layer of BERT and its kin as steps, and the masked-language-model head; see reference/model.py."""

from __future__ import annotations

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
from minidistil.weights.model_weights import EmbeddingWeights, LayerWeights, MaskedLMWeights

HIDDEN, LOGITS = Variable("hidden states"), Variable("logits")


def embed(p: Planner, w: EmbeddingWeights) -> Array:
    """What enters the first layer: [T] -> [T, D]."""
    D, E = p.config.dim, p.config.embedding_size
    stream = p.buffer("x", D)
    terms = [p.words(w.word_embeddings, WORD_IDS)]
    if w.token_type_embeddings is not None:
        terms.append(p.look_up("token types", w.token_type_embeddings, TYPE_IDS))
    terms.append(p.look_up("positions", w.position_embeddings, POSITION_IDS))
    norm = p.norm("embeddings.layer_norm", w.layer_norm)
    if w.projection is None:
        return p.sum("embeddings", *terms, into=stream, norm=norm)
    x = p.sum("embeddings", *terms, into=p.buffer("hidden", E), norm=norm)  # [T] -> [T, E]
    return p.linear("projection", x, p.weight("embeddings.projection"), into=stream)  # [T, E] -> [T, D]


def layer(p: Planner, x: Array, w: LayerWeights, at: str, some: bool) -> Array:
    """One post-norm block: attention, add and normalize, feed-forward, add and normalize: [T, D] -> [T, D].

    With `some`, keys and values of all rows, and the rest of the wanted ones, which are a stream of their own: [R, D].
    """
    D, F = p.config.dim, p.config.hidden_dim
    qkv, spare = p.buffer("qkv", D, D, D), p.buffer("y", D)
    weight = p.weight(f"{at}.qkv")
    if some:
        p.linear("q, k, v", x, weight.beyond(D), into=qkv.parts(1), meets=False)  # [T, D] -> [T, 2 D]
        x, spare = p.sum("q, k, v", x.at(WANTED_ROWS), into=spare, rows=WANTED), x  # [T, D] -> [R, D]
        q = p.linear("q, k, v", x, weight, into=qkv.parts(0, 1))  # [R, D] -> [R, D]
    else:
        q = p.linear("q, k, v", x, weight, into=qkv).parts(0, 1)  # [T, D] -> [T, 3 D]
    context = p.attend(q, qkv.parts(1, 2), qkv.parts(2), into=p.buffer("context", D))
    attended = p.linear("out_lin", context, p.weight(f"{at}.out_lin"), into=spare)
    h = p.sum("sa_layer_norm", x, attended, into=x, norm=p.norm(f"{at}.sa_layer_norm", w.sa_layer_norm))
    inner = p.buffer("hidden", F)
    inner = p.linear("lin1 + activation", h, p.weight(f"{at}.lin1"), into=inner, activation=p.config.activation)
    y = p.linear("lin2", inner, p.weight(f"{at}.lin2"), into=spare)
    return p.sum("output_layer_norm", h, y, into=h, norm=p.norm(f"{at}.output_layer_norm", w.output_layer_norm))


def score_vocabulary(p: Planner, head: MaskedLMWeights) -> None:
    """Logits [R, V] of hidden states [R, D]."""
    E, V = len(head.vocab_layer_norm.bias), p.config.vocab_size
    hidden = p.given(HIDDEN, p.config.dim)
    x = p.buffer("hidden", E)
    x = p.linear("vocab_transform", hidden, p.weight("vocab_transform"), into=x, activation=head.activation)
    x = p.sum("vocab_layer_norm", x, into=x, norm=p.norm("vocab_layer_norm", head.vocab_layer_norm))  # [R, E]
    bias_last = head.extension is not None
    p.linear("vocab_projector", x, p.weight("vocab_projector"), into=p.given(LOGITS, V), bias_last=bias_last)
