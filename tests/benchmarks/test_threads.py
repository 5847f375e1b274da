"""The count of tasks is the engine's own, and what it says of many threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.threads import Phase, deal, phases
from minidistil.backends.engine import Engine
from minidistil.kernels import layout
from minidistil.kernels.steps.table import Steps
from tests import build, synthetic
from tests.families import VARIATIONS

DISTILBERT = {**synthetic.DISTILBERT_SMALL, "n_layers": 2}
MOBILEBERT = next(values for name, values in VARIATIONS.items() if name.startswith("mobilebert"))


@pytest.mark.parametrize("values", [DISTILBERT, MOBILEBERT], ids=["distilbert", "mobilebert"])
@pytest.mark.parametrize("threads", [1, 2, 16])
@pytest.mark.parametrize("lengths", [(3,), (130,), (20, 30, 70)])
def test_tasks_are_as_many_as_the_engine_draws(
    values: dict[str, Any], threads: int, lengths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Steps, np.ndarray]] = []
    real = Steps.call

    def call(steps: Steps, variables: Any) -> np.ndarray:
        calls.append((steps, real(steps, variables)))
        return calls[-1][1]

    engine = Engine(build.config(values), build.model_weights(values), threads=threads)
    counted = [len(tasks) for phase in phases(engine, lengths, threads) for tasks in phase.tasks]
    monkeypatch.setattr(Steps, "call", call)
    engine.encode(build.batch([np.arange(n) % 100 for n in lengths]))
    ((steps, memory),) = calls
    drawn = memory[steps.team + layout.COUNTERS :]
    assert drawn.tolist() == [tasks + threads for tasks in counted], "each thread draws one that is not there, and ends"


def test_tasks_are_dealt_to_who_is_done_first() -> None:
    found = [Phase(("a",), [[3.0, 1.0, 1.0, 1.0]]), Phase(("b", "c"), [[2.0], [2.0, 1.0]])]
    dealt = deal(found, 2)
    assert (dealt.meetings, dealt.fewest) == (2, 3)
    assert (dealt.mean, dealt.largest) == (5.5, 3.0 + 3.0)
    assert dealt.lost == {"a": 0.0, "c": 0.5}


def test_few_tasks_do_not_leave_many_threads_without_work() -> None:
    """DistilBERT-base's products at 128 tokens: 16 panels of 128 rows would keep 16 of 64 threads."""
    values = {**synthetic.DISTILBERT_BASE, "n_layers": 1, "vocab_size": 50}
    engine = Engine(build.config(values), build.model_weights(values), threads=1)
    for threads, most in ((2, 1.01), (4, 1.01), (8, 1.02), (16, 1.03), (64, 1.2)):
        dealt = deal(list(phases(engine, [128], threads)), threads)
        assert 1 <= dealt.largest / dealt.mean < most, threads
