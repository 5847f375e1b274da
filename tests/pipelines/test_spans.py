"""Spans out of start and end logits, against every pair tried one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidistil.pipelines.spans import add_answer, best_answers, find_spans


def _softmax(logits: np.ndarray, allowed: np.ndarray) -> list[float]:
    weights = [math.exp(float(x)) if a else 0.0 for x, a in zip(logits, allowed, strict=True)]
    return [w / sum(weights) for w in weights]


@given(st.integers(1, 24), st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_against_all_pairs(n: int, most: int, longest: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    start, end = (rng.standard_normal(n).astype(np.float32) * 3 for _ in range(2))
    context = rng.random(n) < 0.7
    context[0] = False
    allowed = context.copy()
    allowed[0] = True
    found = find_spans(start, end, allowed, context, most, longest)
    p, q = _softmax(start, allowed), _softmax(end, allowed)
    every = {(i, j): p[i] * q[j] for i in range(n) for j in range(i, min(n, i + longest)) if context[i] and context[j]}
    assert found.null == pytest.approx(p[0] * q[0], rel=1e-5)
    assert len(found.scores) == len(found.starts) == len(found.ends) == min(most, len(every))
    pairs = list(zip(found.starts.tolist(), found.ends.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    for pair, score in zip(pairs, found.scores.tolist(), strict=True):
        assert score == pytest.approx(every[pair], rel=1e-5)
    assert all(a >= b for a, b in zip(found.scores[:-1], found.scores[1:], strict=True))
    if pairs:
        worst = found.scores[-1]
        assert all(score <= worst * (1 + 1e-5) for pair, score in every.items() if pair not in pairs)


def test_of_equal_spans_the_first_comes_first() -> None:
    zeros = np.zeros(5, np.float32)
    inside = np.array([False, True, True, True, True])
    found = find_spans(zeros, zeros, inside, inside, 4, 2)
    assert list(zip(found.starts.tolist(), found.ends.tolist(), strict=True)) == [(1, 1), (1, 2), (2, 2), (2, 3)]


def test_no_span_touches_the_first_token() -> None:
    everywhere = np.ones(3, bool)
    found = find_spans(np.zeros(3, np.float32), np.zeros(3, np.float32), everywhere, everywhere, 9, 3)
    assert set(zip(found.starts.tolist(), found.ends.tolist(), strict=True)) == {(1, 1), (1, 2), (2, 2)}
    assert found.scores.tolist() == pytest.approx([1 / 9] * 3)


def test_a_window_without_context_has_no_spans() -> None:
    nowhere = np.zeros(3, bool)
    found = find_spans(np.ones(3, np.float32), np.ones(3, np.float32), np.array([True, False, False]), nowhere, 5, 5)
    assert len(found.scores) == 0
    assert found.null == 1


def test_answers_with_the_same_text_are_one() -> None:
    text = "Paris is PARIS. paris!"
    answers: list[dict] = []
    for start, end, score in ((0, 5, 0.5), (9, 14, 0.25), (16, 22, 0.2), (16, 21, 0.125)):
        add_answer(answers, text, start, end, score)
    assert answers == [
        {"score": 0.875, "start": 0, "end": 5, "answer": "Paris"},
        {"score": 0.2, "start": 16, "end": 22, "answer": "paris!"},
    ]


def test_the_best_answers() -> None:
    answers = [{"score": s, "start": 0, "end": 1, "answer": str(s)} for s in (0.1, 0.5, 0.3)]
    nothing = {"score": 0.4, "start": 0, "end": 0, "answer": ""}
    assert [a["score"] for a in best_answers(answers, None, 2)] == [0.5, 0.3]
    assert best_answers(answers, 0.4, 2)[1] == nothing
    assert best_answers([], None, 3) == [{**nothing, "score": 0.0}]
    assert best_answers([], 0.4, 1) == [nothing]
