"""What a comparison may believe: answers that agree, times taken in turns."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.measure import (
    Disagreement,
    Restless,
    candidates_differ,
    disagreement,
    interleave,
    summarize,
    wait_for_rest,
)
from benchmarks.worker import Turn, cpu_time, timed


def states(seed: int = 0, lengths: tuple[int, ...] = (3, 7)) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, 16), dtype=np.float32) for n in lengths]


def test_equal_states_agree() -> None:
    assert disagreement(states(), states()) == 0


def test_rounding_agrees_and_is_reported() -> None:
    other = [s * np.float32(1 + 1e-5) for s in states()]
    assert 1e-6 < disagreement(states(), other) < 1e-4


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([np.zeros_like(s) for s in states()], "differ"),
        ([s * np.float32(1.01) for s in states()], "differ"),
        ([s[::-1].copy() for s in states()], "differ"),
        (states(1), "differ"),
        (states()[::-1], r"sentence 0: float32\[7, 16\], expected float32\[3, 16\]"),
        (states()[:1], "1 sentences came back, 2 were expected"),
        ([s.astype(np.float64) for s in states()], "float64"),
        ([s[:, :8] for s in states()], "expected"),
        ([s[:0] for s in states()], "expected"),
    ],
)
def test_other_states_are_refused(found: list[np.ndarray], message: str) -> None:
    with pytest.raises(Disagreement, match=message):
        disagreement(states(), found)


@given(
    st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 1), st.integers(0, 2), st.integers(0, 15), st.booleans()
)
def test_one_value_that_is_not_finite_is_refused(value: float, index: int, row: int, column: int, ours: bool) -> None:
    expected, found = states(), states()
    (found if ours else expected)[index][row, column] = value
    with pytest.raises(Disagreement, match=f"sentence {index}: 1 values are not finite"):
        disagreement(expected, found)


def test_expected_states_that_say_nothing_are_refused() -> None:
    flat = [np.ones_like(s) for s in states()]
    with pytest.raises(Disagreement, match="all alike"):
        disagreement(flat, flat)


def candidates(scores: tuple[float, ...] = (0.5, 0.25, 0.1), tokens: tuple[int, ...] = (7, 3, 9)) -> list[np.ndarray]:
    return [np.array(list(zip(tokens, scores, strict=True)))]


def test_candidates_agree_up_to_rounding() -> None:
    assert candidates_differ(candidates(), candidates((0.5, 0.25, 0.10001))) == pytest.approx(1e-4)


@pytest.mark.parametrize(
    "found",
    [
        candidates(tokens=(7, 3, 8)),
        candidates(tokens=(3, 7, 9)),
        candidates((0.5, 0.25, 0.11)),
        candidates((0.0, 0.0, 0.0)),
        candidates((0.5, 0.25, np.nan)),
        [candidates()[0][:2]],
        [],
    ],
)
def test_other_candidates_are_refused(found: list[np.ndarray]) -> None:
    with pytest.raises(Disagreement):
        candidates_differ(candidates(), found)


class Recorded:
    def __init__(self, name: str, log: list[str], seconds: list[float]) -> None:
        self.name, self.log, self.seconds = name, log, iter(seconds)
        self.spinning, self.used = 0, 0.0

    def turn(self, seconds: float) -> Turn:
        self.log.append(self.name)
        once = next(self.seconds)
        self.spinning = 3
        return Turn([once], [once / 2])

    def cpu_time(self) -> float | None:
        """After a turn its threads go on for a while."""
        self.log.append(f"{self.name}?")
        if self.spinning:
            self.spinning -= 1
            self.used += 0.001
        return self.used


def test_engines_take_turns() -> None:
    log: list[str] = []
    engines = [Recorded("a", log, [1, 2, 3]), Recorded("b", log, [10, 20, 60])]
    found = interleave(engines, rounds=3, seconds=0)
    assert [name for name in log if "?" not in name] == ["a", "b"] * 3
    assert (found["a"].median, found["a"].least, found["a"].calls) == (2, 1, 3)
    assert found["b"].median == 20
    assert found["b"].cpu == 10
    assert found["a"].share == found["a"].cores == 0.5


def test_a_turn_begins_when_all_threads_rest() -> None:
    log: list[str] = []
    a, b = Recorded("a", log, [1.0]), Recorded("b", log, [1.0])
    interleave([a, b], rounds=1, seconds=0)
    before_b = log[log.index("a") + 1 : log.index("b")]
    assert a.spinning == 0, "it was looked at until it rested"
    assert before_b.count("a?") == 4


def test_an_engine_that_never_rests_is_named() -> None:
    a, b = Recorded("a", [], []), Recorded("b", [], [])
    b.spinning = 10**9
    with pytest.raises(Restless, match=r"^b went on computing for"):
        wait_for_rest([a, b], window=0.001, limit=0.02)


def test_where_no_cpu_times_are_told_the_pause_has_a_length() -> None:
    a = Recorded("a", [], [])
    a.cpu_time = lambda: None  # type: ignore[method-assign]
    assert wait_for_rest([a], window=0.001) > 0.01


def test_cpu_time_of_a_process_is_what_it_says_itself() -> None:
    before = time.process_time()
    told = cpu_time(os.getpid())
    if told is None:
        pytest.skip("only Linux tells the CPU time of another process by a clock")
    assert before <= told <= time.process_time()


@given(st.lists(st.floats(1e-6, 10), min_size=1, max_size=30))
def test_summaries_are_in_order(seconds: list[float]) -> None:
    found = summarize([Turn(seconds, seconds)])
    assert found.least <= found.p10 <= found.median <= found.p90 <= max(seconds) * (1 + 1e-12)


def test_cores_show_who_used_more_than_it_was_given() -> None:
    assert summarize([Turn([1.0] * 10, [1.0] * 5 + [2.0] * 5)]).cores == 2


def test_the_first_short_call_is_not_timed() -> None:
    calls: list[int] = []
    turn = timed(calls.append, 1, seconds=0.0, warm=True)
    assert (len(calls), len(turn.seconds)) == (2, 1)


def test_without_warming_the_first_call_is_timed() -> None:
    turn = timed(time.sleep, 0.02, seconds=0.0, warm=False)
    assert len(turn.seconds) == len(turn.cpu_seconds) == 1
    assert turn.seconds[0] >= 0.02
    assert turn.cpu_seconds[0] < turn.seconds[0]
