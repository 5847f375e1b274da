"""The lens: what the head would say of the hidden states after each layer, were it the last.

Legend: `n` tokens, `L` layers, `D` width, `V` vocabulary, `N` labels, `W` words shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidistil._float_mode import default_mode
from minidistil.study.answers import (
    Unfollowed,
    best,
    class_scores,
    replaced_scores,
    sentence_embedding,
    span_scores,
    token_scores,
)
from minidistil.study.parts import LeftOut, Lens
from minidistil.study.sums import cosine, softmax
from minidistil.study.tracing import Trace

WORDS = 3  # of the vocabulary at each token
CLASSES = 5  # of a classifier at most

_Said = tuple[list[list[tuple[str, ...]]], list[np.ndarray]]


@default_mode()
def lens(trace: Trace, encoder: Any = None) -> Lens | LeftOut:
    """Put each layer's hidden states before the model's head.

    Args:
        trace: of `minidistil.study.trace`.
        encoder: the `SentenceEncoder` that is explained, where it is one; else the model's own.

    Returns:
        What the head says, or why it says nothing.
    """
    kind = trace.model.heads[0] if trace.model.heads else "embedding"
    if kind not in _HEADS:
        return LeftOut("lens", "the score of one choice means something beside those of the other choices only")
    name, said = _HEADS[kind]
    try:
        words, probabilities = said(trace, [trace[state] for state in trace.hidden_states], encoder)
    except Unfollowed as error:
        return LeftOut("lens", str(error))
    return Lens(name, tuple(tuple(layer) for layer in words), np.stack(probabilities).astype(np.float32))


def _words(trace: Trace, states: list[np.ndarray], _: Any) -> _Said:
    words, probabilities = [], []
    for state in states:
        scores = softmax(trace.model._backend.masked_lm(state))  # [n, V]
        near = np.argpartition(-scores, WORDS, axis=1)[:, : WORDS + 1]
        threshold = np.take_along_axis(scores, near, 1).min(axis=1)  # so that of equals the smaller id comes first
        order = np.stack([_first(row, least) for row, least in zip(scores, threshold, strict=True)])
        probabilities.append(np.take_along_axis(scores, order, 1))
        words.append([tuple(trace.model.tokenizer.convert_ids_to_tokens(row.tolist())) for row in order])
    return words, probabilities


def _first(scores: np.ndarray, least: float) -> np.ndarray:
    among = np.flatnonzero(scores >= least)
    return among[np.argsort(-scores[among], kind="stable")][:WORDS]


def _classes(trace: Trace, states: list[np.ndarray], _: Any) -> _Said:
    return _labelled(trace, [class_scores(trace.model, state) for state in states])


def _token_classes(trace: Trace, states: list[np.ndarray], _: Any) -> _Said:
    return _labelled(trace, [token_scores(trace.model, state) for state in states])


def _labelled(trace: Trace, scores: list[np.ndarray]) -> _Said:
    """Labels, best first, of scores float32 [R, N] after each layer."""
    named, words, probabilities = trace.model.config.id2label, [], []
    for rows in scores:
        order = best(rows)[:, :CLASSES]
        words.append([tuple(named[i] for i in row) for row in order.tolist()])
        probabilities.append(np.take_along_axis(rows, order, 1))
    return words, probabilities


def _span(trace: Trace, states: list[np.ndarray], _: Any) -> _Said:
    names: list[tuple[str, ...]] = [("start", "end")] * trace.batch.tokens
    return [names for _ in states], [span_scores(trace.model, state) for state in states]


def _replaced(trace: Trace, states: list[np.ndarray], _: Any) -> _Said:
    return [[] for _ in states], [replaced_scores(trace.model, state)[:, None] for state in states]


def _cosine(trace: Trace, states: list[np.ndarray], encoder: Any) -> _Said:
    embeddings = [sentence_embedding(trace.model, state, encoder) for state in states]
    return [[] for _ in states], [cosine(one, embeddings[-1])[None, None] for one in embeddings]


_HEADS: dict[str, tuple[str, Callable[[Trace, list[np.ndarray], Any], _Said]]] = {
    "masked_lm": ("words", _words),
    "sequence_classification": ("classes", _classes),
    "token_classification": ("token classes", _token_classes),
    "question_answering": ("span", _span),
    "discriminator": ("replaced", _replaced),
    "embedding": ("cosine", _cosine),
}
