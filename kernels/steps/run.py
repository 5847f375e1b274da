"""One compiled function that takes any list of steps (table.py): machine code is kept of it (native.py)."""

from __future__ import annotations

from collections.abc import Callable

from minidistil.kernels.code.compile import kernel, part
from minidistil.kernels.simd.memory import get_i64
from minidistil.kernels.steps.operands import reader
from minidistil.kernels.steps.table import ENTRIES, MEETS, OPERANDS, OPERATION, Run, operation, slots
from minidistil.kernels.steps.team import Member, end_step

_RUN = len(Run._fields) * 8  # bytes
_read_run = reader(Run)


@part
def _nothing(kind, step, member):
    pass


def _choice(number: int, name: str, otherwise: Callable) -> Callable:
    """The code of operation `number` where a step is one; otherwise the rest of the operations."""
    operands, code = operation(name)
    read, act = reader(operands), code()

    @part
    def choose(kind, step, member):
        if kind == number:
            act(read(step + OPERANDS * 8), member)
        else:
            otherwise(kind, step, member)

    return choose


def taker(entry: str) -> Callable:
    """What the compiled function of this name does: it takes every step of a list (see `run`)."""
    act: Callable = _nothing
    for number, name in reversed(list(enumerate(ENTRIES[entry]))):
        act = _choice(number, name, act)
    step_bytes = slots(entry) * 8

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
