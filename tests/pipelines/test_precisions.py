"""Every pipeline in every precision: the engine's answers are those of the exact backend, and not float32's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil.weights.precision import Precision
from tests.pipelines.checkpoints import AWKWARD, TOO_LONG, write_small

TEXTS = [*AWKWARD.values(), TOO_LONG[:400]]
QUESTION = "who met whom in the city ?"

# Task: checkpoint, options, what is asked. Scores of answers are Python floats, and compare in every bit.
PIPELINES: dict[str, tuple[str, dict[str, Any], Callable[[Any], Any]]] = {
    "text-classification": ("topics", {"top_k": None}, lambda pipe: pipe(TEXTS)),
    "token-classification": ("entities", {"aggregation_strategy": "average"}, lambda pipe: pipe([*TEXTS, TOO_LONG])),
    "question-answering": ("questions", {"top_k": 3}, lambda pipe: pipe(QUESTION, TOO_LONG)),
    "zero-shot-classification": ("entailment", {"multi_label": True}, lambda pipe: pipe(TEXTS[:3], ["a", "b", "c"])),
    "fill-mask": ("words-electra", {}, lambda pipe: pipe(["the [MASK] of light", "[MASK] and [MASK]"])),
    "feature-extraction": ("encoder", {}, lambda pipe: [np.array(rows) for rows in pipe(TEXTS[:4])]),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root, made = tmp_path_factory.mktemp("precisions"), dict[str, Path]()

    def find(name: str) -> Path:
        if name not in made:
            made[name] = write_small(root, name)
        return made[name]

    return find


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else bool(one == other)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
@pytest.mark.parametrize("task", PIPELINES)
def test_the_engine_answers_like_the_exact_backend(
    task: str, precision: Precision, folders: Callable[[str], Path]
) -> None:
    name, options, ask = PIPELINES[task]
    how = ({"threads": 2, "precision": precision}, {"backend": "exact", "precision": precision}, {"threads": 1})
    engine, exact, usual = (minidistil.pipeline(task, folders(name), **options, **one) for one in how)
    assert engine.model.precision == exact.model.precision == precision
    answers = ask(engine)
    assert _same(answers, ask(exact))
    assert not _same(answers, ask(usual))
    assert _same(ask(minidistil.pipeline(task, engine.model, **options)), answers)
