"""Lists of steps: what the planning side writes and `run` reads. Imports nothing compiled.

A step is int64 [SLOTS]: the number of its operation, whether the threads meet after it, then its operands one after
another, a NamedTuple's within one in its place. A float32 lies in the low half of its slot. Addresses are bytes; 0
stands for an array that is not there.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_type_hints

import numpy as np

from minidistil.kernels import layout

OPERATIONS = (
    "product",
    "narrow_product",
    "attend",
    "sum_rows",
    "activate",
    "pack",
    "multiply_adds",
    "read_memory",
    "coded_product",
    "code_rows",
    "decode_rows",
)
"""The operations of `run`: each is a file beside this one, and its place its number. In `some_name.py` are its
operands, a NamedTuple `SomeName`, and `code`, which makes the part of `run` that computes it."""

TRAINING = tuple(
    f"training.{name}"
    for name in (
        "pack_columns",
        "weight_gradient",
        "column_sums",
        "layer_norm",
        "layer_norm_backward",
        "norm_gradient",
        "activate_rows",
        "activation_backward",
        "attend_kept",
        "attend_backward",
        "dropout",
        "scatter_rows",
        "cross_entropy",
        "cosine",
        "sum_squares",
        "adamw",
    )
)
"""What `train` takes besides; numbered after the others."""

ENTRIES = {"run": OPERATIONS, "train": (*OPERATIONS, *TRAINING)}
"""What each compiled function takes; a model that only runs needs no code of the others."""

OPERATION, MEETS, OPERANDS = range(3)
"""Slots of a step; the operands begin at the last."""


@dataclass(frozen=True)
class Variable:
    """A number that only a call can tell: its name there, and what is added to it."""

    name: str
    plus: int = 0

    def __add__(self, number: int) -> Variable:
        """The variable and so much more."""
        return Variable(self.name, self.plus + number)


Number = int | Variable
"""What the planning side may write for an operand. Compiled code reads an int64."""


class Matrix(NamedTuple):
    """float32 in rows: the address of the first, and elements from one to the next."""

    address: Number
    ld: int


class Rows(NamedTuple):
    """A matrix of which row i is ids[i] (int32, by its address), or i where `ids` is 0; none where ids[i] < 0."""

    address: Number
    ld: Number
    ids: Number


class Packed(NamedTuple):
    """A weight matrix [n, k] in panels (layout.pack), and its bias, padded to whole panels.

    bf16: not zero where the weights are bfloat16 (k one of layout.in_pairs, n at least NARROW); the bias is float32.
    """

    weight: int
    bias: int
    k: int
    n: int
    bf16: int = 0

    def beyond(self, n: int) -> Packed:
        """The same without its first n columns, which fill whole panels where others follow."""
        first = layout.panels(n)
        columns = first * layout.PANEL
        weight = self.weight + columns * self.k * (2 if self.bf16 else 4)
        return self._replace(weight=weight, bias=self.bias + columns * 4, n=self.n - columns)


class Coding(NamedTuple):
    """How rows float32 [k] become coded rows.

    smooth: float32 [k] by address that they are multiplied by before, zero in the columns that are kept; 0 for ones.
    columns: int32 [kept_columns] by address, the numbers of those: what they are in float32, not multiplied, stands
    behind the codes (layout.beyond_codes).
    """

    smooth: int = 0
    columns: int = 0
    kept_columns: int = 0


class PackedInt8(NamedTuple):
    """A weight matrix [n, k] of whole numbers in panels (layout.pack_int8), all by address, all in whole panels.

    scale, bias: float32, zero beyond n. sums: int32, of each column's weights. limited: int32 [panels], see
    layout.limited. kept: float32 [panels, kept_columns, PANEL], of the columns of k that are not whole numbers.
    """

    weight: int
    scale: int
    bias: int
    sums: int
    limited: int
    k: int
    n: int
    kept: int = 0
    kept_columns: int = 0

    def beyond(self, n: int) -> PackedInt8:
        """The same without its first n columns, which fill whole panels where others follow."""
        first = layout.panels(n)
        columns = first * layout.PANEL
        return self._replace(
            weight=self.weight + columns * -(-self.k // 4) * 4,
            scale=self.scale + columns * 4,
            bias=self.bias + columns * 4,
            sums=self.sums + columns * 4,
            limited=self.limited + first * 4,
            kept=self.kept + columns * self.kept_columns * 4,
            n=self.n - columns,
        )


class Run(NamedTuple):
    """What a call of `run` begins with; its steps follow, and then the team's memory (layout.team_memory).

    length: of the list, in steps. scratch: address of float32 [threads, scratch_floats]. clock: address of int64
    [length], the time in nanoseconds when the threads met after a step; or 0.
    """

    length: int
    scratch: Number
    scratch_floats: Number
    clock: Number


SCRATCH, SCRATCH_FLOATS, CLOCK = Variable("scratch"), Variable("scratch floats"), Variable("clock")


class Steps:
    """Steps written once, in which each call fills its variables.

    Args:
        steps: operands of an operation, and whether the threads meet after it. Steps between two meetings run side by
            side: none writes what another reads or writes. After the last the threads meet always, as the caller
            leaves there.
        entry: the function that takes them, a name of ENTRIES.
    """

    def __init__(self, steps: Sequence[tuple[NamedTuple, bool]], entry: str = "run") -> None:
        numbers = [*Run(len(steps), SCRATCH, SCRATCH_FLOATS, CLOCK)]
        for i, (operands, meets) in enumerate(steps):
            numbers += written(operands, meets or i == len(steps) - 1, entry)
        self.team = len(numbers)  # where its memory begins
        numbers += layout.team_memory(len(steps)).tolist()
        variables = {i: number for i, number in enumerate(numbers) if isinstance(number, Variable)}
        places = {name: i for i, name in enumerate(dict.fromkeys(v.name for v in variables.values()))}
        self.entry, self._length, self._names = entry, len(steps), tuple(places)
        self._filled = np.array([*variables], np.intp)  # where a variable stands, which, and what is added to it
        self._which = np.array([places[v.name] for v in variables.values()], np.intp)
        self._plus = np.array([v.plus for v in variables.values()], np.int64)
        self._constants = np.array([0 if isinstance(n, Variable) else n for n in numbers], np.int64)

    def __len__(self) -> int:
        return self._length

    def call(self, values: Mapping[str, int]) -> np.ndarray:
        """What `run` takes the address of, once: int64 [n]; `values` has the variables by name, and perhaps more."""
        numbers, given = self._constants.copy(), np.array([values[name] for name in self._names], np.int64)
        numbers[self._filled] = given.take(self._which) + self._plus
        return numbers


@functools.cache
def operation(name: str) -> tuple[type[NamedTuple], Any]:
    """Operands and `code` of an operation of the table."""
    module = importlib.import_module(f"minidistil.kernels.steps.{name}")
    return getattr(module, name.rpartition(".")[2].title().replace("_", "")), module.code


@functools.cache
def slots(entry: str = "run") -> int:
    """Slots of a step: as many as the operation with the most operands needs."""
    return OPERANDS + max(len(kinds(operation(name)[0])) for name in ENTRIES[entry])


@functools.cache
def kinds(operands: type[NamedTuple]) -> tuple[type, ...]:
    """int or float for each slot that operands take."""
    found: list[type] = []
    for hint in get_type_hints(operands).values():
        found += kinds(hint) if hasattr(hint, "_fields") else [float if hint is float else int]
    return tuple(found)


def written(operands: NamedTuple, meets: bool, entry: str = "run") -> list[Any]:
    """What lies in the slots of a step; a variable where there is one."""
    name = type(operands).__module__.partition(".steps.")[2]
    if name not in ENTRIES[entry]:
        raise ValueError(f"{type(operands).__name__}: kernels/steps/table.py lists no operation {name!r}; add it there")
    values, own = [*_flat(operands)], kinds(type(operands))
    bits = [_bits(value) if kind is float else value for value, kind in zip(values, own, strict=True)]
    return [ENTRIES[entry].index(name), int(meets), *bits, *[0] * (slots(entry) - OPERANDS - len(bits))]


def _flat(operands: tuple) -> Iterator[Any]:
    for value in operands:
        if isinstance(value, tuple):
            yield from _flat(value)
        else:
            yield value


def _bits(number: float) -> int:
    """A float32 in the low half of an int64."""
    return int(np.float32(number).view(np.uint32))
