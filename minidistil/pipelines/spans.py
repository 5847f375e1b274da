"""From start and end logits to answers: pure functions over what the model says of the windows of a context.

The rules are those of transformers' question-answering pipeline, which its versions from 5.3 on no longer have (4.57).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Candidates(NamedTuple):
    """Spans of tokens that may be the answer, best first.

    Attributes:
        starts: int64 [n], first tokens.
        ends: int64 [n], last tokens.
        scores: float32 [n], greater than 0.
        null: probability that the window holds no answer.
    """

    starts: np.ndarray
    ends: np.ndarray
    scores: np.ndarray
    null: float


def find_spans(
    start: np.ndarray, end: np.ndarray, allowed: np.ndarray, context: np.ndarray, most: int, longest: int
) -> Candidates:
    """Rank the spans of a window.

    Args:
        start: float32 [n], logits of the answer's first token.
        end: float32 [n], logits of its last token.
        allowed: bool [n], tokens that take part in the softmax: those of the context, and [CLS] for "no answer".
        context: bool [n], tokens that an answer may begin or end with.
        most: spans to return at most.
        longest: tokens of a span at most.

    Returns:
        Spans i to j of the context with i <= j < i + longest, scored by the product of the probabilities of i and j.
    """
    begins, stops = _probabilities(start, allowed), _probabilities(end, allowed)
    null = float(begins[0] * stops[0])
    n, width = len(begins), min(longest, len(begins))
    begins, stops = np.where(context, begins, 0), np.where(context, stops, 0)
    begins[0] = stops[0] = 0
    ahead = np.concatenate([stops, np.zeros(width, np.float32)])
    scores = begins[:, None] * np.lib.stride_tricks.sliding_window_view(ahead, width)[:n]  # [n, width]: i, j - i
    flat = scores.reshape(-1)
    positive = np.flatnonzero(flat)
    if len(positive) > most:
        threshold = np.partition(flat[positive], len(positive) - most)[len(positive) - most]
        positive = positive[flat[positive] >= threshold]
    best = positive[np.argsort(-flat[positive], kind="stable")][:most]
    starts, lengths = np.divmod(best, width)
    return Candidates(starts, starts + lengths, flat[best], null)


def add_answer(answers: list[dict[str, Any]], text: str, start: int, end: int, score: float) -> None:
    """Add an answer, text[start:end], or its score to that of one with the same text but for its case."""
    answer = text[start:end]
    for known in answers:
        if known["answer"].lower() == answer.lower():
            known["score"] += score
            return
    answers.append({"score": score, "start": start, "end": end, "answer": answer})


def best_answers(answers: Sequence[dict[str, Any]], null: float | None, most: int) -> list[dict[str, Any]]:
    """Return the best answers, best first; one without text and score 0 where there is none.

    Args:
        answers: of all windows.
        null: the score of "no answer", where that is one; its text is empty.
        most: answers to return at most.
    """
    nothing = {"score": 0.0 if null is None else null, "start": 0, "end": 0, "answer": ""}
    known = [*answers, nothing] if null is not None or not answers else list(answers)
    return sorted(known, key=lambda answer: answer["score"], reverse=True)[:most]


def _probabilities(logits: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Softmax over the allowed tokens (transformers gives the others a logit of -10,000)."""
    masked = np.where(allowed, logits, np.float32(-10000.0))
    weights = np.exp(masked - masked.max())
    shares: np.ndarray = weights / weights.sum()
    return shares
