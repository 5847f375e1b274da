"""Where the time of a pass goes: by kernel and by layer, held against what the machine can do at most."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.backends.engine.engine import Engine
from minidistil.backends.engine.plan import Stage
from minidistil.backends.engine.threads import Team
from minidistil.kernels import layout
from minidistil.kernels.steps.multiply_adds import MultiplyAdds
from minidistil.kernels.steps.read_memory import ReadMemory
from minidistil.kernels.steps.table import Steps

_BUFFER = 256 << 20  # bytes, far beyond any cache
_SAMPLE = 0.025  # seconds: long beside the waking of a thread, and its moving to a core of its own
_SAMPLES, _LIMIT = 9, 2.0  # so many undisturbed ones, or as many as there are in so many seconds
UNDISTURBED = 0.95
"""Of the time of its cores: what a team has that nobody disturbs."""


@dataclass(frozen=True)
class Share:
    """One kernel's part of a pass.

    Attributes:
        name: what is computed.
        layer: which layer, or None for what comes before and after them.
        seconds: median over the passes.
        operations: of its products, two a multiply-add, of whole numbers too; 0 for other kernels.
        weights: bytes of packed weights that it reads.
    """

    name: str
    layer: int | None
    seconds: float
    operations: float
    weights: float


@dataclass(frozen=True)
class Profile:
    """Where the time of passes went.

    Attributes:
        shares: what a pass consists of, in order: the embeddings, each layer's kernels, the copying of the result.
        passes: float64 [n], seconds of each.
        had: of the time of as many cores as the engine has threads, the part that this process had.
    """

    shares: list[Share]
    passes: np.ndarray
    had: float


@dataclass(frozen=True)
class Roofs:
    """What the threads of a team do together at most.

    Attributes:
        operations: float32 operations a second.
        bytes: that they read a second, of as many as `buffer` says, over and over.
        least, most: the 10th and 90th percentile of that.
        buffer: bytes.
        had: of the cores' time, the part that this process had while it measured; below UNDISTURBED, and either
            figure may be too low.
    """

    operations: float
    bytes: float
    least: float
    most: float
    buffer: int
    had: float


class _Sample(NamedTuple):
    """A run of a step by all threads: seconds, and the part that they had of their cores' time."""

    seconds: float
    had: float


def profile(engine: Engine, batch: PackedBatch, passes: int = 9, seconds: float = 0.0) -> Profile:
    """Time every kernel of a pass.

    Args:
        engine: of the model.
        batch: at most passes.MOST_TOKENS tokens.
        passes: how many are timed at least, after one that is not.
        seconds: for how long at least.
    """
    engine.clock(batch)
    runs: list[np.ndarray] = []
    begin, cpu = time.perf_counter(), time.process_time()
    while len(runs) < passes or time.perf_counter() - begin < seconds:
        start = time.monotonic_ns()
        ends = engine.clock(batch)
        # A step after which the threads do not meet ends with the next: its own time is not known.
        runs.append(np.diff(ends[ends > 0], prepend=start))
    had = (time.process_time() - cpu) / ((time.perf_counter() - begin) * engine.threads)
    medians = np.zeros(len(ends))
    medians[ends > 0] = np.median(runs, axis=0) / 1e9
    shares = [_share(engine, batch, stage, float(medians[stage.steps].sum())) for stage in engine.plan.stages()]
    return Profile(shares, np.sum(runs, axis=1) / 1e9, min(had, 1.0))


def measure_roofs(threads: int, buffer: int = _BUFFER) -> Roofs:
    """Measure a team: half a second where nobody disturbs it, a few seconds at most.

    Threads wake up on one core, and are moved apart after some milliseconds; or another process has a core. So samples
    are long, and each is held against the CPU time that the process got: those with less than UNDISTURBED of its cores'
    time are left out, where there are others. Of operations the best sample counts, as other work only slows them; of
    reading the median, as what cores get from memory together changes from moment to moment.

    Args:
        threads: of the team.
        buffer: bytes to read: a model's weights (`Plan.weight_bytes`), which may stay in a cache; at most 256 MB.
    """
    team, lanes = Team(threads), _tile_lanes()
    out = np.full(threads, 1e-9, np.float32)
    rounds = 1 << 23  # some 25 ms
    computing = _samples(team, [MultiplyAdds(rounds, layout.address(out))], out)
    floats = np.ones(max(min(buffer, _BUFFER) // 4, threads * layout.READ_STEP), np.float32)
    reading = ReadMemory(layout.address(floats), floats.size, layout.address(out))
    once = max(_run(team, [reading], (floats, out)).seconds, 1e-9)
    times = max(1, math.ceil(_SAMPLE / once))
    samples = _samples(team, [reading] * times, (floats, out))
    rates = floats.nbytes * times / np.array([sample.seconds for sample in samples])
    least, middle, most = np.quantile(rates, (0.1, 0.5, 0.9)).tolist()
    had = float(np.median([sample.had for sample in (*computing, *samples)]))
    operations = threads * rounds * lanes * 2 / min(sample.seconds for sample in computing)
    return Roofs(operations, middle, least, most, floats.nbytes, had)


def pass_operations(engine: Engine, lengths: np.ndarray) -> float:
    """Operations of the encoder's products on sentences of these lengths, int [B]: two a multiply-add."""
    products = float(lengths.sum()) * engine.plan.token_operations()
    return products + engine.config.n_layers * _attention_operations(engine, lengths)


def _share(engine: Engine, batch: PackedBatch, stage: Stage, seconds: float) -> Share:
    operations = 2.0 * batch.tokens * stage.weights
    if stage.attends:
        operations = _attention_operations(engine, np.diff(batch.offsets))
    return Share(stage.name, stage.layer, seconds, operations, float(stage.weight_bytes))


def _attention_operations(engine: Engine, lengths: np.ndarray) -> float:
    """Of one layer's attention."""
    return 4.0 * float((lengths.astype(np.float64) ** 2).sum()) * engine.config.attention_size


def _tile_lanes() -> int:
    """Lanes of one round of the multiply-add roof: what the register tile holds."""
    from minidistil.kernels.code.target import target

    tile = target().tile
    return tile.lanes * tile.rows * tile.vectors


def _samples(team: Team, steps: Sequence[NamedTuple], keep: Any) -> list[_Sample]:
    """Undisturbed runs of steps, _SAMPLES of them; all runs, where time is over before there is any."""
    found: list[_Sample] = []
    start = time.perf_counter()
    while True:
        found.append(_run(team, steps, keep))
        good = [sample for sample in found if sample.had >= UNDISTURBED]
        if len(good) >= _SAMPLES or time.perf_counter() - start > _LIMIT:
            return good or found


def _run(team: Team, steps: Sequence[NamedTuple], keep: Any) -> _Sample:
    taken = Steps([(step, True) for step in steps])
    with team.turn():
        start, cpu = time.perf_counter(), time.process_time()
        team.run(taken, dict.fromkeys(("scratch", "scratch floats", "clock"), 0), keep)
        seconds = time.perf_counter() - start
        return _Sample(seconds, (time.process_time() - cpu) / (seconds * team.threads))
