"""What limits a pass on more threads than this machine has, by counting: `python -m benchmarks.threads`.

Takes the engine's own lists of steps and deals their tasks out as the engine does: each thread draws the next when it
has done its last, and all meet where a step says so. A task takes the time of its work alone, so what comes out is what
the tasks allow, not a forecast: memory, clocks and caches that cores share, and the time of a meeting are left out.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click

from benchmarks.inputs import shape_name
from benchmarks.report import table

SHAPES = ((1, 8), (1, 32), (1, 128), (1, 512), (16, 128))  # the last as large as one pass gets

# Costs in multiply-adds of the products, from the table of layers in docs/performance.md: an element of a LayerNorm, of
# a sum or copy; how much less of the peak the attention reaches; packing a head's keys and values, in queries.
_NORM, _MOVE, _ATTENTION, _PACK = 28, 9, 1.4, 5


class Phase(NamedTuple):
    """Steps between two meetings: their names, and the tasks of each one after another."""

    names: tuple[str, ...]
    tasks: list[list[float]]


@dataclass(frozen=True)
class Dealt:
    """A pass on some threads.

    Attributes:
        meetings: how often all threads meet.
        fewest: tasks of the product or attention that has the fewest.
        mean: work of a thread on average.
        largest: of the thread that has most, phase by phase added up: what the pass takes.
        lost: by the step's name, how much the largest is above the mean there.
    """

    meetings: int
    fewest: int
    mean: float
    largest: float
    lost: dict[str, float]


def phases(engine: Any, lengths: Sequence[int], threads: int) -> Iterator[Phase]:
    """The engine's plan for sentences of these lengths, its tasks as multiply-adds."""
    names: list[str] = []
    tasks: list[list[float]] = []
    for step in engine.plan.encode().planned:
        names.append(step.name)
        tasks.append(tasks_of(step.operands, lengths, threads))
        if step.meets:
            yield Phase(tuple(names), tasks)
            names, tasks = [], []
    if names:
        yield Phase(tuple(names), tasks)


def tasks_of(operands: Any, lengths: Sequence[int], threads: int) -> list[float]:
    """Work of each task of a step, in the order in which they are drawn."""
    from minidistil.kernels.layout import PANEL
    from minidistil.kernels.products.gemm import row_block
    from minidistil.kernels.products.tile import ROWS
    from minidistil.kernels.steps.attend import Attend
    from minidistil.kernels.steps.product import Product
    from minidistil.kernels.steps.share import even_block
    from minidistil.kernels.steps.sum_rows import LAYER_NORM, SumRows

    rows = sum(lengths)
    if isinstance(operands, Product):
        panels = -(-operands.w.n // PANEL)
        block = even_block(rows, row_block(rows), ROWS, panels, threads)
        heights = [min(block, rows - first) for first in range(0, rows, block)]
        return [float(height * operands.w.k * PANEL) for height in heights for _ in range(panels)]
    if isinstance(operands, Attend):
        average = -(-rows // len(lengths))
        parts = -(-average // even_block(average, average, 24, len(lengths) * operands.heads, threads))
        found = []
        for n in lengths:
            height = (n + 24 * parts - 1) // (24 * parts) * 24
            own = [max(0, min(height, n - height * i)) for i in range(parts)]
            costs = [_ATTENTION * 2 * n * operands.head_dim * (q + _PACK) if q else 0.0 for q in own]
            found += costs * operands.heads
        return found
    if isinstance(operands, SumRows):
        most = max(1, min(4, rows // threads))
        cost = operands.n * (_NORM if operands.norm == LAYER_NORM else _MOVE)
        return [float(min(most, rows - first) * cost) for first in range(0, rows, most)]
    raise TypeError(f"{type(operands).__name__}: its tasks are not known here")


def deal(found: Sequence[Phase], threads: int) -> Dealt:
    """Deal the tasks of a pass out to threads."""
    largest, lost, fewest = 0.0, dict[str, float](), []
    whole = sum(sum(map(sum, phase.tasks)) for phase in found)
    for phase in found:
        busy = [0.0] * threads
        for tasks in phase.tasks:
            for cost in tasks:
                heapq.heapreplace(busy, busy[0] + cost)
        name = phase.names[-1]
        lost[name] = lost.get(name, 0.0) + max(busy) - sum(busy) / threads
        largest += max(busy)
        if "norm" not in name and name not in ("embeddings", "result"):
            fewest.append(sum(map(len, phase.tasks)))
    return Dealt(len(found), min(fewest), whole / threads, largest, lost)


@click.command(context_settings={"show_default": True})
@click.option("--threads", default="1,2,4,8,16,64", help="Thread counts.")
@click.option("--shapes", help="Only these BATCHxLENGTH, in place of the standard ones.")
@click.option(
    "--checkpoint", type=click.Path(exists=True, path_type=Path), help="A model. [default: a seeded DistilBERT-base]"
)
def main(threads: str, shapes: str | None, checkpoint: Path | None) -> None:
    """Count what a pass's tasks allow on so many threads."""
    from benchmarks.inputs import parse_shapes

    counts = [int(t) for t in threads.split(",")]
    engine = _engine(checkpoint)
    lines = []
    for batch, length in parse_shapes(shapes) if shapes else SHAPES:
        for count in counts:
            dealt = deal(list(phases(engine, [length] * batch, count)), count)
            worst = max(dealt.lost, key=dealt.lost.__getitem__)
            over = dealt.largest / dealt.mean
            lines.append(
                [
                    f"{shape_name(batch, length)}, {count} thread{'s' * (count > 1)}",
                    str(dealt.meetings),
                    str(dealt.fewest),
                    f"{over:.2f}",
                    f"{count / over:.1f}",
                    f"{worst} {dealt.lost[worst] / dealt.largest:.0%}" if over > 1.005 else "",
                ]
            )
    header = [
        "",
        "meetings",
        "fewest tasks",
        "largest thread over mean",
        "at most times one thread",
        "most lost at",
    ]
    click.echo(table(header, lines))


def _engine(checkpoint: Path | None) -> Any:
    from minidistil.backends.engine import Engine
    from minidistil.weights import open_checkpoint, read_model
    from minidistil.weights.config import Config

    if checkpoint is None:
        from tests import build
        from tests.synthetic import DISTILBERT_BASE

        return Engine(build.config(DISTILBERT_BASE), build.model_weights(DISTILBERT_BASE), threads=1)
    opened = open_checkpoint(checkpoint)
    return Engine(Config.from_dict(opened.config), read_model(opened, heads=()), threads=1)


if __name__ == "__main__":
    main()
