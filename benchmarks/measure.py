"""Judging results before timing them, timing engines in turns, and summing up."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchmarks.worker import Turn

# Float32 engines in different orders of sums differ by about 1e-5 of the states' size after six layers; one that
# rounds weights to bfloat16 by 1e-2.
TOLERANCE = 2e-4
# The mean cosine of a sentence's states, taken from their mean: int8's is 0.66 or more (seeded weights, 8 tokens), that
# of other tokens' states about 0, though their plain cosine is 0.9.
LEAST_CENTRED = 0.4


class Disagreement(AssertionError):
    """Two engines did not compute the same thing."""


class Restless(RuntimeError):
    """Threads of an engine went on computing long after its turn."""


class Timed(Protocol):
    """What `interleave` needs of an engine's handle."""

    name: str

    def turn(self, seconds: float) -> Turn:
        """Timed calls for about `seconds`."""
        ...

    def cpu_time(self) -> float | None:
        """CPU seconds of its process so far, all threads counted; None where the system does not tell."""
        ...


@dataclass(frozen=True)
class Summary:
    """Times of one engine at one workload.

    Attributes:
        median, p10, p90, least: seconds of one call.
        cpu: median CPU seconds of one call, all threads counted. On one thread it says what the call would have
            taken on a machine that nobody else used.
        cpu_least: the least of them.
        cores: 90th percentile of CPU time over wall time; more than the threads that an engine was given is cheating.
        share: median of CPU time over wall time; well below the threads given, the engine or the machine was held up.
        calls: how many were timed.
    """

    median: float
    p10: float
    p90: float
    least: float
    cpu: float
    cpu_least: float
    cores: float
    share: float
    calls: int


def summarize(turns: Sequence[Turn]) -> Summary:
    """Sum up the turns of one engine."""
    seconds = np.concatenate([t.seconds for t in turns])
    cpu = np.concatenate([t.cpu_seconds for t in turns])
    p10, median, p90 = (float(q) for q in np.quantile(seconds, (0.1, 0.5, 0.9)))
    ratio = cpu / seconds
    cores, share = float(np.quantile(ratio, 0.9)), float(np.median(ratio))
    times = float(np.median(cpu)), float(cpu.min())
    return Summary(median, p10, p90, float(seconds.min()), *times, cores, share, len(seconds))


def interleave(engines: Sequence[Timed], rounds: int, seconds: float) -> dict[str, Summary]:
    """Time engines in turns, A B C A B C, so that whatever disturbs the machine disturbs all of them.

    Args:
        engines: handles; their names become the keys.
        rounds: turns of each engine.
        seconds: length of a turn; each starts with one untimed call, since the turn before emptied the caches. It
            begins when the threads of all engines have come to rest.

    Raises:
        Restless: they do not.
    """
    turns: dict[str, list[Turn]] = {engine.name: [] for engine in engines}
    for _ in range(rounds):
        for engine in engines:
            wait_for_rest(engines)
            turns[engine.name].append(engine.turn(seconds))
    return {name: summarize(found) for name, found in turns.items()}


def wait_for_rest(engines: Sequence[Timed], window: float = 0.02, limit: float = 10.0) -> float:
    """Wait until no engine's process computes: idle threads spin for a while, on the cores of who comes next.

    Args:
        engines: handles.
        window: seconds in which all of them together may take a hundredth of that in CPU time.
        limit: seconds after which waiting ends.

    Returns:
        How long it took; where the system does not tell CPU times, ten windows.

    Raises:
        Restless: the limit has passed; names who computes.
    """
    start = time.perf_counter()
    before = [engine.cpu_time() for engine in engines]
    while time.perf_counter() - start < limit:
        time.sleep(window)
        now = [engine.cpu_time() for engine in engines]
        used = {e.name: b - a for e, a, b in zip(engines, before, now, strict=True) if a is not None and b is not None}
        if used and sum(used.values()) < window / 100:
            return time.perf_counter() - start
        if not used and time.perf_counter() - start > 10 * window:
            return time.perf_counter() - start
        before = now
    running = ", ".join(name for name, seconds in used.items() if seconds > window / 100)
    raise Restless(f"{running} went on computing for {limit:.0f} s after the last turn")


@dataclass(frozen=True)
class Closeness:
    """How near two engines' states of the same tokens are.

    Attributes:
        mean, least: cosines of all tokens.
        equal: the share of sentences whose states have the same bytes.
    """

    mean: float
    least: float
    equal: float


def closeness(
    expected: Sequence[np.ndarray], found: Sequence[np.ndarray], least_centred: float = LEAST_CENTRED
) -> Closeness:
    """Compare by direction, what fewer bits than float32's change; checked like `disagreement`.

    Args:
        expected: float32 [n_b, D] per sentence, of two tokens at least.
        found: the same from another engine, or from the same one in other batches.
        least_centred: what the mean cosine of each sentence's states must reach when the mean of the expected ones is
            taken from both, so that neither zeros nor other tokens' states pass. Their sizes may differ by a tenth.

    Raises:
        Disagreement: for another number of sentences, another shape or type, values that are not finite, expected
            states that say nothing, a sentence below `least_centred`, or of another size.
    """
    cosines, equal = [], []
    for index, (a, b) in enumerate(_pairs(expected, found)):
        centre = a.mean(axis=0)
        centred = float(_cosines(a - centre, b - centre).mean())
        if not centred >= least_centred:
            raise Disagreement(
                f"sentence {index}: its states, taken from their mean, have a cosine of {centred:.2f} to the "
                f"expected ones; {least_centred} is the least"
            )
        size = float(np.linalg.norm(b) / np.linalg.norm(a))
        if not 0.9 < size < 1.1:
            raise Disagreement(f"sentence {index}: its states are {size:.2f} times the size of the expected ones")
        cosines.append(_cosines(a, b))
        equal.append(a.tobytes() == b.tobytes())
    every = np.concatenate(cosines)
    return Closeness(float(every.mean()), float(every.min()), float(np.mean(equal)))


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """float64 [n] of the rows of a and b, [n, D]; 0 where one is zero."""
    sizes = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.sum(a * b, axis=1) / np.maximum(sizes, np.finfo(np.float64).tiny)


def disagreement(expected: Sequence[np.ndarray], found: Sequence[np.ndarray], tolerance: float = TOLERANCE) -> float:
    """The largest difference, relative to the expected states' root mean square; checked against `tolerance`.

    Args:
        expected: float32 [n_b, D] per sentence.
        found: the same from another engine.
        tolerance: far less than 1, so that neither zeros nor another sentence's states pass.

    Raises:
        Disagreement: for another number of sentences, another shape or type, values that are not finite, expected
            states that say nothing (all alike), or a difference above the tolerance.
    """
    worst = 0.0
    for a, b in _pairs(expected, found):
        size = float(np.sqrt(np.mean(np.square(a))))
        worst = max(worst, float(np.max(np.abs(a - b))) / size)
    if worst > tolerance:
        raise Disagreement(f"states differ by {worst:.1e} of their size; at most {tolerance:.0e} is rounding")
    return worst


def _pairs(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """float64 [n_b, D] of each sentence, expected and found; raises Disagreement where they cannot be compared."""
    if len(expected) != len(found):
        raise Disagreement(f"{len(found)} sentences came back, {len(expected)} were expected")
    for index, (a, b) in enumerate(zip(expected, found, strict=True)):
        if a.shape != b.shape or b.dtype != np.float32 or b.ndim != 2 or not b.size:
            raise Disagreement(f"sentence {index}: {b.dtype}{list(b.shape)}, expected float32{list(a.shape)}")
        bad = int(np.count_nonzero(~np.isfinite(a)) + np.count_nonzero(~np.isfinite(b)))
        if bad:
            raise Disagreement(f"sentence {index}: {bad} values are not finite")
        if float(np.std(a)) < 1e-3:
            raise Disagreement(f"sentence {index}: the expected states are all alike; they can check nothing")
        yield a.astype(np.float64), b.astype(np.float64)


def candidates_differ(expected: Sequence[np.ndarray], found: Sequence[np.ndarray], tolerance: float = 1e-3) -> float:
    """The largest relative difference of scores; checked like `disagreement`, for float64 [5, 2] (token, score)."""
    if len(expected) != len(found):
        raise Disagreement(f"{len(found)} texts came back, {len(expected)} were expected")
    worst = 0.0
    for index, (a, b) in enumerate(zip(expected, found, strict=True)):
        if a.shape != b.shape or a.ndim != 2 or not a.size:
            raise Disagreement(f"text {index}: {list(b.shape)} candidates, expected {list(a.shape)}")
        if not (np.isfinite(a).all() and np.isfinite(b).all() and (a[:, 1] > 0).all()):
            raise Disagreement(f"text {index}: scores that are no probabilities")
        worst = max(worst, float(np.max(np.abs(a[:, 1] - b[:, 1]) / a[:, 1])))
        if not np.array_equal(a[:, 0], b[:, 0]):
            raise Disagreement(f"text {index}: tokens {b[:, 0].tolist()}, expected {a[:, 0].tolist()}")
    if worst > tolerance:
        raise Disagreement(f"scores differ by {worst:.1e}; at most {tolerance:.0e} is rounding")
    return worst
