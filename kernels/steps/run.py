"""One compiled function that takes any list of steps (table.py): machine code is kept of it (native.py)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from minidistil.kernels.code.compile import kernel, part
from minidistil.kernels.simd.memory import get_i64
from minidistil.kernels.steps.operands import reader
from minidistil.kernels.steps.table import ENTRIES, MEETS, OPERANDS, OPERATION, Run, operation, slots
from minidistil.kernels.steps.team import Member, end_step

_RUN = len(Run._fields) * 8  # bytes
_read_run = reader(Run)


@functools.cache
def _act_of(name: str) -> Callable:
    """The code of an operation, which reads its operands from the step; one for all functions that take such steps."""
    operands, code = operation(name)
    read, act = reader(operands), code()

    @kernel
    def read_and_act(kind, step, member):
        act(read(step + OPERANDS * 8), member)

    return read_and_act


def _choice(first: int, names: Sequence[str]) -> Callable:
    """The code of whichever of these operations a step is; `first` is the number of the first of them.

    Halves of halves: Numba inlines what is in a part anew for each part around it.
    """
    if len(names) == 1:
        return _act_of(names[0])
    half = len(names) // 2
    middle, below, above = first + half, _choice(first, names[:half]), _choice(first + half, names[half:])

    @part
    def choose(kind, step, member):
        if kind < middle:
            below(kind, step, member)
        else:
            above(kind, step, member)

    return choose


def taker(entry: str) -> Callable:
    """What the compiled function of this name does: it takes every step of a list (see `run`)."""
    act, step_bytes = _choice(0, ENTRIES[entry]), slots(entry) * 8

    @part
    def take_all(call, thread, threads):
        own = _read_run(call)
        steps, scratch = call + _RUN, own.scratch + thread * own.scratch_floats * 4
        team = steps + own.length * step_bytes
        for i in range(own.length):
            step = steps + i * step_bytes
            act(get_i64(step, OPERATION), step, Member(thread, threads, team, i, scratch))
            if get_i64(step, MEETS) != 0 and not end_step(team, threads, own.clock, i):
                return False
        return True

    return take_all


_take_all = taker("run")


@kernel
def run(call, thread, threads):
    """Take every step of a list; each thread of the team calls it with the same arguments but `thread`.

    Args:
        call: address of a `Run` and what follows it.
        thread: 0 to threads - 1.

    Returns:
        True, or False where the team was told to give up.
    """
    return _take_all(call, thread, threads)
