"""Question answering against what transformers 4 answered (answers.json; made by record_answers.py)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import minidistil
from tests.pipelines.questions import cases

RECORDED = json.loads(Path(__file__).with_name("answers.json").read_text(encoding="utf-8"))["answers"]


@pytest.fixture(scope="module")
def answers(checkpoint: Callable[[str], Path]) -> list[Any]:
    """Our answers to all cases; those with the same options are asked in one call."""
    pipes = {}
    grouped: dict[tuple, list[int]] = {}
    asked = cases()
    for i, (name, _, _, options) in enumerate(asked):
        grouped.setdefault((name, *sorted(options.items())), []).append(i)
    found: list[Any] = [None] * len(asked)
    for (name, *options), places in grouped.items():
        if name not in pipes:
            pipes[name] = minidistil.pipeline("question-answering", model=checkpoint(name), threads=2)
        questions, contexts = ([asked[i][part] for i in places] for part in (1, 2))
        got = pipes[name](question=questions, context=contexts, **dict(options))
        for i, answer in zip(places, got if len(places) > 1 else [got], strict=True):
            found[i] = answer
    return found


def _list(answer: Any) -> list[dict[str, Any]]:
    """Without the spans of probability 0 that transformers 4 adds where there are fewer answers than asked for."""
    listed = answer if isinstance(answer, list) else [answer]
    return [a for a in listed if a["score"] > 0] or listed[:1]


@pytest.mark.parametrize("i", range(len(RECORDED)))
def test_answers(answers: list[Any], i: int) -> None:
    *_, context, options = cases()[i]
    got, want = _list(answers[i]), _list(RECORDED[i])
    assert [(a["start"], a["end"], a["answer"]) for a in got] == [(a["start"], a["end"], a["answer"]) for a in want]
    assert [a["score"] for a in got] == pytest.approx([a["score"] for a in want], rel=2e-6, abs=1e-6)
    assert all(a["answer"] == context[a["start"] : a["end"]] for a in got)
    if options.get("top_k", 1) == 1:
        assert isinstance(answers[i], dict)


def test_the_recording_covers_what_it_should() -> None:
    assert len(RECORDED) == len(cases()) > 100
    several = [a for a in RECORDED if isinstance(a, list)]
    assert max(map(len, several)) == 20
    assert sum(a["score"] for answer in RECORDED for a in _list(answer)) > 1
    assert any(a["answer"] == "" and a["score"] > 0 for answer in RECORDED for a in _list(answer))
