"""Threads that meet inside compiled code: atomic counters, a barrier, and the tasks of a step.

Every thread of a team enters the same kernel without the GIL. In a step, threads draw tasks from a shared counter until
none is left, so a thread that the machine holds up takes fewer; where the step ends they meet at a barrier.

A team's memory is layout.team_memory: arrivals and generation on cache lines of their own, the flag that sends everyone
home, then one counter a step, all zero before the kernel starts.
"""

from __future__ import annotations

import platform
from typing import NamedTuple

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.layout import ABORT, COUNTERS
from minidistil.kernels.simd.memory import set_i64

_I64, _I32 = ir.IntType(64), ir.IntType(32)
_ARRIVALS, _GENERATION = 0, 8

# A barrier is usually met within a microsecond; a core that is not ours for longer is left to others.
_SPINS = 2000
_YIELD = "SwitchToThread" if platform.system() == "Windows" else "sched_yield"


@intrinsic
def atomic_add(typing_context, address, value):
    """Add to the int64 at an address; returns what it was before."""

    def emit(context, builder, sig, args):
        return builder.atomic_rmw("add", builder.inttoptr(args[0], _I64.as_pointer()), args[1], "seq_cst")

    return types.int64(types.intp, types.int64), emit


@intrinsic
def atomic_load(typing_context, address):
    """The int64 at an address."""

    def emit(context, builder, sig, args):
        return builder.load_atomic(builder.inttoptr(args[0], _I64.as_pointer()), "seq_cst", 8)

    return types.int64(types.intp), emit


@intrinsic
def yield_thread(typing_context):
    """Let the operating system run another thread."""

    def emit(context, builder, sig, args):
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_I32, []), _YIELD)
        builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def nanoseconds(typing_context):
    """Of the monotonic clock; 0 where the C library has none (Windows)."""

    def emit(context, builder, sig, args):
        if platform.system() == "Windows":
            return ir.Constant(_I64, 0)
        spec = cgutils.alloca_once(builder, ir.ArrayType(_I64, 2))
        pointer = builder.bitcast(spec, _I64.as_pointer())
        function_type = ir.FunctionType(_I32, [_I32, _I64.as_pointer()])
        function = cgutils.get_or_insert_function(builder.module, function_type, "clock_gettime")
        builder.call(function, [ir.Constant(_I32, 6 if platform.system() == "Darwin" else 1), pointer])
        seconds = builder.load(pointer)
        rest = builder.load(builder.gep(pointer, [ir.Constant(_I64, 1)]))
        return builder.add(builder.mul(seconds, ir.Constant(_I64, 10**9)), rest)

    return types.int64(), emit


class Member(NamedTuple):
    """A thread of a team in a step: its number, theirs, the address of the team's memory, and its own scratch."""

    thread: int
    threads: int
    team: int
    step: int
    scratch: int


@kernel
def next_task(member):
    """The next task number of a step, from 0."""
    return atomic_add(member.team + (COUNTERS + member.step) * 8, 1)


@kernel
def meet(team, threads):
    """Wait until all threads have come here; False where the team was told to give up."""
    if threads == 1:
        return True
    generation = atomic_load(team + _GENERATION * 8)
    if atomic_add(team + _ARRIVALS * 8, 1) == threads - 1:
        atomic_add(team + _ARRIVALS * 8, -threads)
        atomic_add(team + _GENERATION * 8, 1)
        return True
    spins = 0
    while atomic_load(team + _GENERATION * 8) == generation:
        spins += 1
        if spins > _SPINS:
            if atomic_load(team + ABORT * 8) != 0:
                return False
            yield_thread()
            spins = 0
    return True


@kernel
def end_step(team, threads, clock, step):
    """`meet`; where a clock (the address of int64 [steps]) is given, the time of the last arrival stays there."""
    if clock != 0:
        set_i64(clock, step, nanoseconds())
    return meet(team, threads)
