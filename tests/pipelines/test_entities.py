"""Entities out of token scores: the rules by themselves, on scores made by hand and by chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidistil.pipelines.entities import STRATEGIES, Token, find_entities, merge_windows
from minidistil.pipelines.token_classification import most_central

LABELS = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC", 5: "DATE"}
NUMBERS = {label: number for number, label in LABELS.items()}


def _join(tokens: list[str]) -> str:
    return " ".join(tokens).replace(" ##", "")


def _token(word: str, label: str, score: float = 0.9, start: int = 0) -> Token:
    """A token whose best label has `score`; the others share the rest."""
    scores = np.full(len(LABELS), (1 - score) / (len(LABELS) - 1), np.float32)
    scores[NUMBERS[label]] = score
    length = len(word.removeprefix("##"))
    return Token(word, scores, start, start + length, start + 1, word.startswith("##"))


def _tokens(*pairs: tuple[str, str, float]) -> list[Token]:
    tokens, at = [], 0
    for word, label, score in pairs:
        at += not word.startswith("##") and bool(tokens)
        tokens.append(_token(word, label, score, at))
        at = tokens[-1].end
    return tokens


TEXT = _tokens(
    ("micro", "B-PER", 0.6),
    ("##soft", "I-LOC", 0.9),
    ("com", "B-LOC", 0.7),
    ("##pany", "B-PER", 0.5),
    ("in", "O", 0.99),
    ("may", "DATE", 0.8),
    ("june", "DATE", 0.6),
    ("anna", "B-PER", 0.9),
    ("bob", "B-PER", 0.7),
)


def _found(strategy: str, ignored: tuple[str, ...] = ("O",)) -> list[tuple[str, str, float]]:
    key = "entity" if strategy == "none" else "entity_group"
    entities = find_entities(TEXT, strategy, LABELS, _join, ignored)
    return [(e[key], e["word"], pytest.approx(e["score"], rel=1e-6)) for e in entities]


def test_every_token_by_itself() -> None:
    assert [(kind, word) for kind, word, _ in _found("none")] == [
        ("B-PER", "micro"), ("I-LOC", "##soft"), ("B-LOC", "com"), ("B-PER", "##pany"),
        ("DATE", "may"), ("DATE", "june"), ("B-PER", "anna"), ("B-PER", "bob"),
    ]  # fmt: skip
    entity = find_entities(TEXT, "none", LABELS, _join, ())[1]
    assert list(entity) == ["entity", "score", "index", "word", "start", "end"]
    assert (entity["start"], entity["end"], entity["index"]) == (5, 9, 6)


@pytest.mark.parametrize(
    ("strategy", "wanted"),
    [
        ("simple", [("PER", "micro", 0.6), ("LOC", "soft", 0.9), ("LOC", "com", 0.7), ("PER", "pany", 0.5)]),
        ("first", [("PER", "microsoft", 0.6), ("LOC", "company", 0.7)]),
        ("max", [("LOC", "microsoft", 0.9), ("LOC", "company", 0.7)]),
        ("average", [("LOC", "microsoft", (0.9 + 0.08) / 2), ("LOC", "company", (0.7 + 0.1) / 2)]),
    ],
)
def test_aggregation(strategy: str, wanted: list[tuple[str, str, float]]) -> None:
    rest = [("DATE", "may june", 0.7), ("PER", "anna", 0.9), ("PER", "bob", 0.7)]
    found = [(kind, word.removeprefix("##"), score) for kind, word, score in _found(strategy)]
    assert found == wanted + rest


def test_labels_are_left_out_after_grouping() -> None:
    assert [word for _, word, _ in _found("first", ("PER", "O"))] == ["company", "may june"]
    assert [word for _, word, _ in _found("first", ())][2] == "in"
    assert [word for _, word, _ in _found("none", ("B-PER", "DATE"))] == ["##soft", "com", "in"]
    # An O in between keeps two of a kind apart although it is not shown.
    parts = _tokens(("anna", "I-PER", 0.9), ("and", "O", 0.9), ("bob", "I-PER", 0.9))
    assert len(find_entities(parts, "simple", LABELS, _join, ("O",))) == 2


def test_a_label_without_prefix_is_shown_whole_up_to_its_first_hyphen() -> None:
    labels = {0: "work-of-art", 1: "B-work-of-art"}
    token = Token("x", np.array([0.9, 0.1], np.float32), 0, 1, 1, False)
    assert find_entities([token], "simple", labels, _join, ())[0]["entity_group"] == "of-art"  # as in transformers
    token = Token("x", np.array([0.1, 0.9], np.float32), 0, 1, 1, False)
    assert find_entities([token], "simple", labels, _join, ())[0]["entity_group"] == "work-of-art"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_tokens_no_entities(strategy: str) -> None:
    assert find_entities([], strategy, LABELS, _join, ()) == []
    assert merge_windows([]) == []


def test_of_overlapping_entities_the_longest_and_then_the_surest_stays() -> None:
    def entity(start: int, end: int, score: float) -> dict[str, Any]:
        return {"start": start, "end": end, "score": score}

    overlapping = [entity(10, 14, 0.5), entity(0, 4, 0.9), entity(12, 18, 0.1), entity(0, 4, 0.95), entity(4, 6, 0.2)]
    best = [entity(0, 4, 0.95), entity(4, 6, 0.2), entity(12, 18, 0.1)]
    assert merge_windows(overlapping) == merge_windows(overlapping[::-1]) == best


@given(
    st.integers(1, 60), st.integers(2, 12), st.integers(0, 11), st.sampled_from([0, 1, 3])
)  # tokens, room, overlap, special
def test_each_token_once_from_where_most_is_around_it(total: int, room: int, overlap: int, special: int) -> None:
    overlap = min(overlap, room - 1)
    starts = [0]
    while starts[-1] + room < total:
        starts.append(starts[-1] + room - overlap)
    windows = [
        [
            Token(str(at), np.array([k], np.float32), at, at + 1, special + at - start, False)
            for at in range(start, min(start + room, total))
        ]
        for k, start in enumerate(starts)
    ]
    chosen = most_central(windows, overlap)
    assert [token.word for token in chosen] == [str(at) for at in range(total)]
    assert [token.index for token in chosen] == [special + at for at in range(total)]
    for at, token in enumerate(chosen):
        around = [
            min(float("inf") if k == 0 else at - start, float("inf") if k == len(starts) - 1 else start + room - 1 - at)
            if start <= at < start + room
            else -1
            for k, start in enumerate(starts)
        ]
        assert around.index(max(around)) == int(token.scores[0])
