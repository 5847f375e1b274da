"""Lists of steps taken apart: what compiled code is called with, and which memory each step reads and writes.

Written from the operations' docstrings, which say what their operands are, and apart from their code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, get_type_hints

import numpy as np
import pytest

from minidistil.kernels import layout
from minidistil.kernels.code import native
from minidistil.kernels.steps import table
from minidistil.kernels.steps.activate import Activate
from minidistil.kernels.steps.attend import Attend
from minidistil.kernels.steps.code_rows import CodeRows
from minidistil.kernels.steps.coded_product import CodedProduct
from minidistil.kernels.steps.decode_rows import DecodeRows
from minidistil.kernels.steps.multiply_adds import MultiplyAdds
from minidistil.kernels.steps.narrow_product import NarrowProduct
from minidistil.kernels.steps.pack import Pack
from minidistil.kernels.steps.product import Product
from minidistil.kernels.steps.read_memory import ReadMemory
from minidistil.kernels.steps.sum_rows import NO_NORM, SumRows
from minidistil.kernels.steps.table import Coding, Matrix, Rows
from tests import training_steps
from tests.touched import Touched, coded, int32, int64, matrix


class Step(NamedTuple):
    """A step as compiled code finds it."""

    operands: Any
    meets: bool


class Call(NamedTuple):
    """A call as it lies in memory, `size` bytes with its team's memory."""

    run: table.Run
    steps: list[Step]
    size: int


def read_call(address: int, entry: str = "run") -> Call:
    """The call at an address, of a compiled function of this name."""
    run = _read(table.Run, int64(address, len(table.Run._fields)))
    slots, first = table.slots(entry), len(table.Run._fields)
    numbers = int64(address + first * 8, run.length * slots).reshape(run.length, slots)
    steps = []
    for row in numbers:
        cls, _ = table.operation(table.ENTRIES[entry][row[table.OPERATION]])
        assert row[table.MEETS] in (0, 1)
        steps.append(Step(_read(cls, row[table.OPERANDS :]), bool(row[table.MEETS])))
    return Call(run, steps, (first + numbers.size + layout.COUNTERS + run.length) * 8)


def touched(step: Step, threads: int) -> list[Touched]:
    """All that a step touches but the scratch; nothing twice, nothing empty."""
    found = {**TOUCHED, **training_steps.TOUCHED}[type(step.operands)](step.operands, threads)
    return list(dict.fromkeys(place for place in found if place.address != 0 and place.size > 0 and place.rows > 0))


@contextmanager
def watched() -> Iterator[list[Call]]:
    """The calls of compiled code from here on, read while what they point to is alive, with what each step touches."""
    calls: list[Call] = []
    entry = native.entry

    def watching(name: str) -> native.Entry:
        def call(address: int, thread: int, threads: int) -> bool:
            if thread == 0:
                calls.append(read_call(address, name))
                check(calls[-1], threads)
            return entry(name)(address, thread, threads)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "entry", watching)
        yield calls


def check(call: Call, threads: int) -> None:
    """Fail where steps that may run at the same time touch the same memory, and one of them writes it."""
    assert call.steps[-1].meets, "the caller leaves after the last step: all must have come there"
    together: list[tuple[Step, list[Touched]]] = []
    for step in call.steps:
        places = touched(step, threads)
        _check_alone(step, places)
        for other, others in together:
            clash = next(((a, b) for a in places for b in others if (a.writes or b.writes) and _overlap(a, b)), None)
            assert clash is None, f"{step.operands}\nbeside {other.operands}\nboth touch {clash}"
        together = [] if step.meets else [*together, (step, places)]


def _check_alone(step: Step, places: list[Touched]) -> None:
    """The tasks of one step run side by side as well: what it writes it reads nowhere, or in the same rows."""
    out = [place for place in places if place.writes]
    own = getattr(step.operands, "out", None)
    for place in places:
        in_place = isinstance(step.operands, SumRows) and any(
            own is not None and tuple(term) == (own.address, own.ld, 0) and term.address == place.address
            for term in (step.operands.a, step.operands.b, step.operands.c)
        )
        in_place = in_place or any(
            getattr(step.operands, read) == getattr(step.operands, written) and place.address == written_at
            for read, written in training_steps.IN_PLACE.get(type(step.operands), ())
            for written_at in [getattr(step.operands, written).address]
        )
        if not place.writes and not in_place and not isinstance(step.operands, Activate):
            assert not any(_overlap(place, written) for written in out), f"{step.operands} reads what it writes"


def _overlap(a: Touched, b: Touched) -> bool:
    if a.end <= b.address or b.end <= a.address:
        return False
    rows = [(x.address + np.arange(x.rows)[:, None] * x.apart + [0, x.size]) for x in (a, b)]
    (a_start, a_end), (b_start, b_end) = (x.T for x in rows)
    return bool(((a_start[:, None] < b_end) & (b_start < a_end[:, None])).any())


# What each operation touches ------------------------------------------------------------------------------------------


def _rows(x: Rows, rows: int, columns: int) -> Iterator[Touched]:
    if x.ids and x.address:
        yield Touched(x.ids, rows * 4, False)
        rows = int(int32(x.ids, rows).max(initial=-1)) + 1
    yield matrix(Matrix(x.address, x.ld), rows, columns)


def _product(o: Product, threads: int) -> Iterator[Touched]:
    yield from (matrix(o.x, o.rows, o.w.k), matrix(o.out, o.rows, o.w.n, writes=True))
    columns = layout.padded_columns(o.w.n)
    number = 2 if o.w.bf16 else 4
    yield from (Touched(o.w.weight, columns * o.w.k * number, False), Touched(o.w.bias, columns * 4, False))


def _attend(o: Attend, threads: int) -> Iterator[Touched]:
    columns, ends = o.heads * o.head_dim, (o.sentences + 1) * 8
    tokens, queries = (int(int64(x, o.sentences + 1)[-1]) for x in (o.offsets, o.q_offsets))
    yield matrix(o.q, queries, columns)
    yield from (matrix(x, tokens, columns) for x in (o.k, o.v))
    yield matrix(o.context, queries, columns, writes=True)
    yield from (Touched(x, ends, False) for x in (o.offsets, o.q_offsets, o.places))
    longest = int(np.diff(int64(o.offsets, o.sentences + 1)).max())
    yield Touched(o.bias, o.sentences * o.bias_heads * longest * longest * 4, False)
    if o.probabilities:
        yield Touched(o.probabilities, int(int64(o.places, o.sentences + 1)[-1]) * 4, True)


def _sum_rows(o: SumRows, threads: int) -> Iterator[Touched]:
    yield matrix(o.out, o.rows, o.n, writes=True)
    for term in (o.a, o.b, o.c):
        yield from _rows(term, o.rows, o.n)
    if o.norm != NO_NORM:
        yield from (Touched(o.gain, o.n * 4, False), Touched(o.shift, o.n * 4, False))
    if o.coded.address:
        yield coded(o.coded, o.rows, o.n, o.coding.kept_columns, writes=True)
        yield from _coding(o.coding, o.n)


def _code_rows(o: CodeRows, threads: int) -> Iterator[Touched]:
    yield from (matrix(o.x, o.rows, o.k), coded(o.out, o.rows, o.k, o.coding.kept_columns, writes=True))
    yield from _coding(o.coding, o.k)


def _coding(o: Coding, k: int) -> Iterator[Touched]:
    assert (o.columns != 0) == (o.kept_columns != 0), "columns that are kept, and how many"
    yield from (Touched(o.smooth, k * 4, False), Touched(o.columns, o.kept_columns * 4, False))
    columns = int32(o.columns, o.kept_columns) if o.columns else np.zeros(0, np.int32)
    assert ((columns >= 0) & (columns < k)).all(), "columns of a row"


def _coded_product(o: CodedProduct, threads: int) -> Iterator[Touched]:
    yield from (coded(o.x, o.rows, o.w.k, o.w.kept_columns), matrix(o.out, o.rows, o.w.n, writes=True))
    columns = layout.padded_columns(o.w.n)
    yield Touched(o.w.weight, columns * -(-o.w.k // 4) * 4, False)
    yield Touched(o.w.kept, columns * o.w.kept_columns * 4, False)
    yield from (Touched(x, columns * 4, False) for x in (o.w.scale, o.w.bias, o.w.sums))
    yield Touched(o.w.limited, layout.panels(o.w.n) * 4, False)


def _decode_rows(o: DecodeRows, threads: int) -> Iterator[Touched]:
    yield from (matrix(o.out, o.rows, o.n, writes=True), Touched(o.ids, o.rows * 4, False))
    rows = int(int32(o.ids, o.rows).max(initial=-1)) + 1
    yield from (Touched(o.table, rows * o.n * (1 if o.scale else 2), False), Touched(o.scale, rows * 4, False))


def _activate(o: Activate, threads: int) -> Iterator[Touched]:
    yield Touched(o.x, o.n * 4, True)


def _pack(o: Pack, threads: int) -> Iterator[Touched]:
    number = 2 if o.bf16 else 4
    yield Touched(o.weight, o.n * o.k * number, False)
    yield Touched(o.out, layout.padded_columns(o.n) * o.k * number, True)


def _roof(o: MultiplyAdds | ReadMemory, threads: int) -> Iterator[Touched]:
    yield Touched(o.out, threads * 4, True)
    if isinstance(o, ReadMemory):
        yield Touched(o.x, o.n * 4, False)


TOUCHED: dict[type, Callable[[Any, int], Iterator[Touched]]] = {
    Product: _product,
    NarrowProduct: _product,
    Attend: _attend,
    SumRows: _sum_rows,
    Activate: _activate,
    Pack: _pack,
    MultiplyAdds: _roof,
    ReadMemory: _roof,
    CodedProduct: _coded_product,
    CodeRows: _code_rows,
    DecodeRows: _decode_rows,
}
"""Operands -> what a step with them touches; of the operations of `run` (those of `train`: training_steps.py)."""


def _read(cls: Any, slots: np.ndarray) -> Any:
    """A NamedTuple from its slots."""
    values, place = [], 0
    for hint in get_type_hints(cls).values():
        if hasattr(hint, "_fields"):
            values.append(_read(hint, slots[place:]))
            place += len(table.kinds(hint))
        else:
            values.append(float(slots[place : place + 1].view(np.float32)[0]) if hint is float else int(slots[place]))
            place += 1
    return cls(*values)
