"""Where the time of a pass goes: by kernel and by layer, held against what the machine can do at most."""

from __future__ import annotations

import time
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

_BUFFER = 64 << 20  # floats: 256 MB, far beyond any cache


@dataclass(frozen=True)
class Share:
    """One kernel's part of a pass.

    Attributes:
        name: what is computed.
        layer: which layer, or None for what comes before and after them.
        seconds: median over the passes.
        operations: floating point operations of its products, two a multiply-add; 0 for other kernels.
        weights: bytes of packed weights that it reads.
    """

    name: str
    layer: int | None
    seconds: float
    operations: float
    weights: float


@dataclass(frozen=True)
class Roofs:
    """What the threads of a team do together at most: float32 operations a second, bytes a second from memory."""

    operations: float
    bytes: float


def profile(engine: Engine, batch: PackedBatch, passes: int = 9) -> list[Share]:
    """Time every kernel of a pass.

    Args:
        engine: of the model.
        batch: at most engine.TOKEN_BUDGET tokens.
        passes: how many are timed, after one that is not.

    Returns:
        What a pass consists of, in order: the embeddings, each layer's kernels, the copying of the result.
    """
    engine.clock(batch)
    runs = []
    for _ in range(passes):
        start = time.monotonic_ns()
        ends = engine.clock(batch)
        # A step after which the threads do not meet ends with the next: its own time is not known.
        runs.append(np.diff(ends[ends > 0], prepend=start))
    seconds = np.zeros(len(ends))
    seconds[ends > 0] = np.median(runs, axis=0) / 1e9
    return [_share(engine, batch, stage, float(seconds[stage.steps].sum())) for stage in engine.plan.stages()]


def measure_roofs(threads: int) -> Roofs:
    """Measure a team, about a third of a second.

    Of several short runs the best for operations, as other work only slows them; the median for reading, as what cores
    get from memory together changes from moment to moment.
    """
    team = Team(threads)
    out = np.full(threads, 1e-9, np.float32)
    rounds, lanes = 200_000, _tile_lanes()
    computing = MultiplyAdds(rounds, layout.address(out))
    fma = min(_time(team, computing, out) for _ in range(9))
    buffer = np.ones(_BUFFER // 4, np.float32)
    reading = ReadMemory(layout.address(buffer), buffer.size, layout.address(out))
    seconds = float(np.median([_time(team, reading, (buffer, out)) for _ in range(9)]))
    return Roofs(threads * rounds * lanes * 2 / fma, buffer.nbytes / seconds)


def pass_operations(engine: Engine, lengths: np.ndarray) -> float:
    """Floating point operations of the encoder's products on sentences of these lengths, int [B]."""
    products = float(lengths.sum()) * engine.plan.token_operations()
    return products + engine.config.n_layers * _attention_operations(engine, lengths)


def _share(engine: Engine, batch: PackedBatch, stage: Stage, seconds: float) -> Share:
    operations = 2.0 * batch.tokens * stage.weights
    if stage.attends:
        operations = _attention_operations(engine, np.diff(batch.offsets))
    return Share(stage.name, stage.layer, seconds, operations, 4.0 * stage.weights)


def _attention_operations(engine: Engine, lengths: np.ndarray) -> float:
    """Of one layer's attention."""
    return 4.0 * float((lengths.astype(np.float64) ** 2).sum()) * engine.config.attention_size


def _tile_lanes() -> int:
    """Lanes of one round of the multiply-add roof: what the register tile holds."""
    from minidistil.kernels.code.target import target

    tile = target().tile
    return tile.lanes * tile.rows * tile.vectors


def _time(team: Team, step: NamedTuple, keep: Any) -> float:
    steps = Steps([(step, True)])
    with team.turn():
        start = time.perf_counter()
        team.run(steps, dict.fromkeys(("scratch", "scratch floats", "clock"), 0), keep)
        return time.perf_counter() - start
