"""The heads as steps, both passes side by side; see models/heads.py. `R` rows that a head reads, `N` logits each.

A function returns the logits, and its own backward pass: from the gradient of the logits to that of the hidden states.
"""

from __future__ import annotations

from collections.abc import Callable

from minidistil.backends.engine.learning.planner import LOGITS, LearningPlanner
from minidistil.backends.engine.planner import WANTED, Array
from minidistil.backends.learning import HEAD_DENSE_SITE, HEAD_SITE
from minidistil.weights.families import FAMILIES
from minidistil.weights.model_weights import ClassifierWeights, Linear, MaskedLMWeights, ModelWeights

Head = tuple[Array, Callable[[Array], Array]]


def score(p: LearningPlanner, x: Array, w: ModelWeights, given: bool = False) -> Head:
    """The logits of the one head that is trained: [R, D] -> [R, N]; `given`: the caller's memory takes them."""
    if w.masked_lm is not None:
        return masked_lm(p, x, w.masked_lm, given)
    if w.sequence_classification is not None:
        return sequence_classification(p, x, w.sequence_classification, given)
    assert w.token_classification is not None
    return token_classification(p, x, w.token_classification, given)


def masked_lm(p: LearningPlanner, x: Array, w: MaskedLMWeights, given: bool) -> Head:
    """Of every word of the vocabulary: [R, D] -> [R, V]."""
    at, V, E = "masked_lm", *w.vocab_projector.weight.shape
    u = p.product("vocab_transform", x, f"{at}.vocab_transform", into=_rows(p, "transformed", E))
    s = p.activate("activation", u, w.activation, into=_rows(p, "activated", E))
    y, norm = p.normalize(
        "vocab_layer_norm", s, f"{at}.vocab_layer_norm", w.vocab_layer_norm, into=_rows(p, "scored", E)
    )
    logits = p.product("vocab_projector", y, f"{at}.vocab_projector", into=_logits(p, V, given))  # [R, E] -> [R, V]

    def backward(dlogits: Array) -> Array:
        a, b = _rows(p, "head dx", E), _rows(p, "head ds", E)
        dy = p.product_backward("vocab_projector", dlogits, y, f"{at}.vocab_projector", into=a)  # [R, V] -> [R, E]
        ds = p.normalize_backward("vocab_layer_norm", dy, None, norm, into=b)
        du = p.activate_backward("activation", ds, u, w.activation)
        return p.product_backward("vocab_transform", du, x, f"{at}.vocab_transform", into=a)

    return logits, backward


def sequence_classification(p: LearningPlanner, x: Array, w: ClassifierWeights, given: bool) -> Head:
    """Of whole sentences from their first tokens: [B, D] -> [B, N]."""
    at, D, activation = "sequence_classification", p.config.dim, w.activation
    drops = FAMILIES[p.config.model_type].head_dropout
    u = x
    if w.dense is not None:
        x = p.head_dropout(x, HEAD_DENSE_SITE) if "dense" in drops else x
        u = p.product("dense", x, f"{at}.dense", into=_rows(p, "transformed", D))
    y = p.activate("activation", u, activation, into=_rows(p, "activated", D))
    y = p.head_dropout(y, HEAD_SITE) if "output" in drops else y
    logits = p.product("output", y, f"{at}.output", into=_logits(p, len(w.output.bias), given))

    def backward(dlogits: Array) -> Array:
        a, b = _rows(p, "head dx", D), _rows(p, "head ds", D)
        dy = p.product_backward("output", dlogits, y, f"{at}.output", into=a)  # [B, N] -> [B, D]
        dy = p.head_dropout(dy, HEAD_SITE) if "output" in drops else dy
        du = p.activate_backward("activation", dy, u, activation)
        if w.dense is None:
            return du
        dx = p.product_backward("dense", du, x, f"{at}.dense", into=b)
        return p.head_dropout(dx, HEAD_DENSE_SITE) if "dense" in drops else dx

    return logits, backward


def token_classification(p: LearningPlanner, x: Array, w: Linear, given: bool) -> Head:
    """Of every token: [R, D] -> [R, N]."""
    at, D = "token_classification.output", p.config.dim
    x = p.head_dropout(x, HEAD_SITE)
    logits = p.product("output", x, at, into=_logits(p, len(w.bias), given))

    def backward(dlogits: Array) -> Array:
        dx = p.product_backward("output", dlogits, x, at, into=_rows(p, "head dx", D))
        return p.head_dropout(dx, HEAD_SITE)

    return logits, backward


def _rows(p: LearningPlanner, name: str, columns: int) -> Array:
    return p.buffer(name, columns, rows=WANTED)


def _logits(p: LearningPlanner, N: int, given: bool) -> Array:
    return p.given(LOGITS, N) if given else _rows(p, "logits", N)
