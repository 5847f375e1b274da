"""Which memory each operation of training reads and writes; for steps.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from minidistil.kernels import layout
from minidistil.kernels.code import target
from minidistil.kernels.steps.training.activate_rows import ActivateRows
from minidistil.kernels.steps.training.activation_backward import ActivationBackward
from minidistil.kernels.steps.training.adamw import NUMBERS, Adamw
from minidistil.kernels.steps.training.attend_backward import AttendBackward
from minidistil.kernels.steps.training.attend_kept import AttendKept
from minidistil.kernels.steps.training.column_sums import ColumnSums
from minidistil.kernels.steps.training.cosine import Cosine
from minidistil.kernels.steps.training.cross_entropy import STATISTICS, CrossEntropy
from minidistil.kernels.steps.training.dropout import Dropout
from minidistil.kernels.steps.training.layer_norm import LayerNorm
from minidistil.kernels.steps.training.layer_norm_backward import LayerNormBackward
from minidistil.kernels.steps.training.norm_gradient import NormGradient
from minidistil.kernels.steps.training.pack_columns import PackColumns
from minidistil.kernels.steps.training.scatter_rows import ScatterRows
from minidistil.kernels.steps.training.sum_squares import SumSquares, chunks
from minidistil.kernels.steps.training.weight_gradient import WeightGradient
from tests.touched import Touched, int32, matrix


def _pack_columns(o: PackColumns, threads: int) -> Iterator[Touched]:
    yield Touched(o.weight, o.n * o.k * 4, False)
    sliver, panel, chain = target.sliver(), layout.PANEL, layout.chain_length(o.of)
    for block in range(0, o.of, chain):  # as layout.pack cuts a panel
        length = min(chain, o.of - block)
        first, last = max(o.first, block) - block, min(o.first + o.n, block + length) - block
        for start in range(0, panel, sliver) if first < last else ():
            place = o.out + (block * panel + start * length + first * sliver) * 4
            yield Touched(place, (last - first) * sliver * 4, True, layout.panels(o.k), o.of * panel * 4, o.out)


def _weight_gradient(o: WeightGradient, threads: int) -> Iterator[Touched]:
    yield from (matrix(o.dy, o.rows, o.n), matrix(o.x, o.rows, o.k), Touched(o.out, o.n * o.k * 4, True))


def _column_sums(o: ColumnSums, threads: int) -> Iterator[Touched]:
    yield from (matrix(o.x, o.rows, o.n), Touched(o.out, o.n * 4, True))


def _layer_norm(o: LayerNorm, threads: int) -> Iterator[Touched]:
    yield from (matrix(o.x, o.rows, o.n), matrix(o.out, o.rows, o.n, writes=True))
    yield from (Touched(x, o.n * 4, False) for x in (o.gain, o.shift))
    yield Touched(o.moments, o.rows * 8, True)


def _layer_norm_backward(o: LayerNormBackward, threads: int) -> Iterator[Touched]:
    yield from (matrix(x, o.rows, o.n) for x in (o.dy, o.more, o.x))
    yield from (Touched(o.moments, o.rows * 8, False), Touched(o.gain, o.n * 4, False))
    yield matrix(o.out, o.rows, o.n, writes=True)


def _norm_gradient(o: NormGradient, threads: int) -> Iterator[Touched]:
    yield from (matrix(x, o.rows, o.n) for x in (o.dy, o.more, o.x))
    yield Touched(o.moments, o.rows * 8, False)
    yield from (Touched(x, o.n * 4, True) for x in (o.gain, o.shift))


def _rows(o: ActivateRows | Dropout, threads: int) -> Iterator[Touched]:
    yield from (matrix(o.x, o.rows, o.n), matrix(o.out, o.rows, o.n, writes=True))


def _activation_backward(o: ActivationBackward, threads: int) -> Iterator[Touched]:
    yield from (matrix(x, o.rows, o.n) for x in (o.dy, o.x))
    yield from (matrix(x, o.rows, o.n, writes=True) for x in (o.out, o.value))


def _attend(o: AttendKept | AttendBackward, threads: int) -> Iterator[Touched]:
    backward, width = isinstance(o, AttendBackward), o.heads * o.head_dim
    yield from (matrix(x, o.tokens, width) for x in (o.q, o.k, o.v))
    yield matrix(o.context, o.tokens, width, writes=not backward)
    yield Touched(o.statistics, 2 * o.heads * o.tokens * 4, not backward)
    yield Touched(o.offsets, (o.sentences + 1) * 8, False)
    if isinstance(o, AttendBackward):
        yield from (matrix(o.dcontext, o.tokens, width), matrix(o.dqkv, o.tokens, 3 * width, writes=True))


def _scatter_rows(o: ScatterRows, threads: int) -> Iterator[Touched]:
    rows = int(int32(o.starts, o.distinct + 1)[-1])
    yield from (Touched(o.order, rows * 4, False), Touched(o.starts, (o.distinct + 1) * 4, False))
    yield Touched(o.ids, o.distinct * 4, False)
    yield matrix(o.x, int(int32(o.order, rows).max(initial=-1)) + 1, o.n)
    yield Touched(o.out, (int(int32(o.ids, o.distinct).max(initial=-1)) + 1) * o.n * 4, True)


def _cross_entropy(o: CrossEntropy, threads: int) -> Iterator[Touched]:
    yield from (matrix(o.logits, o.rows, o.n, writes=True), matrix(o.teacher, o.rows, o.n))
    yield from (Touched(o.labels, o.rows * 4, False), Touched(o.weights, 3 * 4, False))
    yield Touched(o.statistics, o.rows * STATISTICS * 4, True)


def _cosine(o: Cosine, threads: int) -> Iterator[Touched]:
    yield from (matrix(x, o.rows, o.n) for x in (o.x, o.teacher))
    yield from (Touched(o.weight, 4, False), matrix(o.out, o.rows, o.n, writes=True))
    yield Touched(o.cosines, o.rows * 4, True)


def _sum_squares(o: SumSquares, threads: int) -> Iterator[Touched]:
    yield from (Touched(o.x, o.n * 4, False), Touched(o.out, chunks(o.n) * 4, True))


def _adamw(o: Adamw, threads: int) -> Iterator[Touched]:
    yield from (Touched(x, o.n * 4, True) for x in (o.parameters, o.gradients, o.first, o.second))
    yield Touched(o.numbers, NUMBERS * 4, False)


TOUCHED: dict[type, Callable[[Any, int], Iterator[Touched]]] = {
    PackColumns: _pack_columns,
    WeightGradient: _weight_gradient,
    ColumnSums: _column_sums,
    LayerNorm: _layer_norm,
    LayerNormBackward: _layer_norm_backward,
    NormGradient: _norm_gradient,
    ActivateRows: _rows,
    ActivationBackward: _activation_backward,
    AttendKept: _attend,
    AttendBackward: _attend,
    Dropout: _rows,
    ScatterRows: _scatter_rows,
    CrossEntropy: _cross_entropy,
    Cosine: _cosine,
    SumSquares: _sum_squares,
    Adamw: _adamw,
}
"""Operands -> what a step with them touches."""

IN_PLACE: dict[type, tuple[tuple[str, str], ...]] = {
    ActivateRows: (("x", "out"),),
    ActivationBackward: (("dy", "out"), ("x", "value")),
    Dropout: (("x", "out"),),
    LayerNormBackward: (("dy", "out"),),
}
"""Operands -> what may be one and the same matrix: read, and written by the task that read it."""
