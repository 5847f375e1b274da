"""The machine: what it is, and what it can do at most (the roofs of a roofline).

Peaks are measured with kernels of their own, written as LLVM vector code: independent chains of fused multiply-adds
that never leave the registers, and reads of a buffer that add up what they read. Rates are over the threads' CPU time,
so that other processes do not lower a roof.
"""

from __future__ import annotations

import functools
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

_LANES = 16
# CPU features that decide which kernels the engines take.
_FEATURES = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "asimddp", "sve")


@dataclass(frozen=True)
class Roofs:
    """What the machine gives one core, and `threads` cores together.

    Attributes:
        gflops: float32 GFLOP/s of fused multiply-adds (one is two operations).
        memory: GB/s of reads from a buffer far larger than the caches.
        caches: GB/s of reads by buffer size in KB, one core.
        threads: cores of the two figures below.
        gflops_all, memory_all: the same for all threads at once.
    """

    gflops: float
    memory: float
    caches: dict[int, float]
    threads: int
    gflops_all: float
    memory_all: float


def describe() -> dict[str, Any]:
    """The machine as a report needs it."""
    info = _cpuinfo()
    flags = set(info.get("flags", info.get("Features", "")).split())
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "llvm_name": _llvm_name(),
        "family_model": " ".join(info.get(key, "?") for key in ("cpu family", "model")),
        "cores": os.cpu_count(),
        "cores_usable": affinity,
        "features": [f for f in _FEATURES if f in flags],
        "caches": _cache_sizes(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "hypervisor": "hypervisor" in flags,
        "system": platform.platform(),
        "python": sys.version.split()[0],
    }


def load_average() -> float:
    """Runnable processes over the last minute: more than a little, and timings are not to be trusted."""
    return os.getloadavg()[0]


def measure_roofs(threads: int) -> Roofs:
    """Measure both peaks on one core and on `threads`; takes a few seconds.

    What memory gives is a median: a virtual machine's share of it changes, and the best of several readings is luck.
    """
    buffers = [_aligned_ones(32 * 2**20) for _ in range(threads)]  # 128 MB each
    caches = {kb: _best(functools.partial(_read_rate, buffers[0][: kb * 256]), 3) for kb in (16, 256, 8192)}
    return Roofs(
        gflops=_best(lambda: _together([_fma_rate]), 5),
        memory=statistics.median(_together([lambda: _read_rate(buffers[0])]) for _ in range(9)),
        caches=caches,
        threads=threads,
        gflops_all=_best(lambda: _together([_fma_rate] * threads), 5),
        memory_all=statistics.median(_together([functools.partial(_read_rate, b) for b in buffers]) for _ in range(9)),
    )


def as_json(roofs: Roofs) -> dict[str, Any]:
    """Roofs as plain values."""
    return asdict(roofs)


def _aligned_ones(size: int) -> np.ndarray:
    """float32 [size] that starts on a page: reads across cache lines would halve the rate of the first level."""
    raw = np.ones(size + 1024, np.float32)
    start = -(raw.ctypes.data // raw.itemsize) % 1024
    return raw[start : start + size]


def _best(rate: Callable[[], float], times: int) -> float:
    """The peak is what the machine reached, not what it did on average."""
    return max(rate() for _ in range(times))


def _together(rates: list[Callable[[], float]]) -> float:
    """The sum of rates measured at the same time, one thread each."""
    found = [0.0] * len(rates)
    barrier = threading.Barrier(len(rates))

    def work(i: int) -> None:
        barrier.wait()
        found[i] = rates[i]()

    workers = [threading.Thread(target=work, args=(i,)) for i in range(len(rates))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(found)


def _fma_rate() -> float:
    """GFLOP/s of one thread, over about 30 ms."""
    run, flops = _fma_loop()
    out = np.zeros(_LANES, np.float32)
    run(1000, out.ctypes.data)
    n = 500_000
    start = time.thread_time()
    run(n, out.ctypes.data)
    return n * flops / (time.thread_time() - start) / 1e9


def _read_rate(buffer: np.ndarray) -> float:
    """GB/s of one thread reading a buffer, several times where it is small."""
    run, step = _read_loop()
    out = np.zeros(_LANES, np.float32)
    rounds = max(1, 2**25 // buffer.nbytes)
    seconds = []
    for _ in range(2):
        start = time.thread_time()
        run(buffer.ctypes.data, buffer.size // step * step, rounds, out.ctypes.data)
        seconds.append(time.thread_time() - start)
    return rounds * buffer.nbytes / statistics.mean(seconds) / 1e9


@functools.lru_cache(maxsize=1)
def _fma_loop() -> tuple[Any, int]:
    """run(n, out): n rounds of as many independent fused multiply-adds as registers hold; and operations a round."""
    from llvmlite import ir
    from numba import njit, types
    from numba.core import cgutils
    from numba.extending import intrinsic

    # 12 registers' worth of chains, 24 where there are 32 registers of 16 lanes: more than latency times issue width.
    features = os.environ.get("NUMBA_CPU_FEATURES") or _cpuinfo().get("flags", "")
    chains = 24 if "avx512f" in features else 6
    f32, i64 = ir.FloatType(), ir.IntType(64)
    vector = ir.VectorType(f32, _LANES)

    @intrinsic
    def rounds(typing_context: Any, n: Any, out: Any) -> Any:
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            n, out = args
            kind = ir.FunctionType(vector, [vector] * 3)
            fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{_LANES}f32")
            pointer = builder.inttoptr(out, vector.as_pointer())
            x = builder.load(pointer, align=4)  # zero, and the compiler cannot know
            before, loop, after = builder.block, *(builder.append_basic_block(name) for name in ("loop", "after"))
            builder.branch(loop)
            builder.position_at_end(loop)
            i = builder.phi(i64)
            sums = [builder.phi(vector) for _ in range(chains)]
            new = [builder.call(fma, [x, x, s]) for s in sums]
            following = builder.add(i, i64(1))
            i.add_incoming(i64(0), before)
            i.add_incoming(following, loop)
            for j, (s, value) in enumerate(zip(sums, new, strict=True)):
                s.add_incoming(ir.Constant(vector, [float(j)] * _LANES), before)
                s.add_incoming(value, loop)
            builder.cbranch(builder.icmp_signed("<", following, n), loop, after)
            builder.position_at_end(after)
            builder.store(functools.reduce(builder.fadd, new), pointer, align=4)
            return context.get_dummy_value()

        return types.void(types.int64, types.intp), emit

    @njit(nogil=True)
    def run(n: int, out: int) -> None:
        rounds(n, out)

    return run, 2 * chains * _LANES


@functools.lru_cache(maxsize=1)
def _read_loop() -> tuple[Any, int]:
    """run(address, n, rounds, out): add up n floats, `rounds` times; and the step of which n is a multiple."""
    from llvmlite import ir
    from numba import njit, types
    from numba.extending import intrinsic

    chains = 8
    step = chains * _LANES
    f32, i64 = ir.FloatType(), ir.IntType(64)
    vector = ir.VectorType(f32, _LANES)

    @intrinsic
    def pass_over(typing_context: Any, address: Any, n: Any, out: Any) -> Any:
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            address, n, out = args
            source = builder.inttoptr(address, f32.as_pointer())
            pointer = builder.inttoptr(out, vector.as_pointer())
            before, loop, after = builder.block, *(builder.append_basic_block(name) for name in ("loop", "after"))
            builder.branch(loop)
            builder.position_at_end(loop)
            i = builder.phi(i64)
            sums = [builder.phi(vector) for _ in range(chains)]
            new = []
            for j, s in enumerate(sums):
                place = builder.gep(source, [builder.add(i, i64(j * _LANES))])
                value = builder.load(builder.bitcast(place, vector.as_pointer()), align=4)
                new.append(builder.fadd(s, value))
            following = builder.add(i, i64(step))
            i.add_incoming(i64(0), before)
            i.add_incoming(following, loop)
            for s, value in zip(sums, new, strict=True):
                s.add_incoming(ir.Constant(vector, [0.0] * _LANES), before)
                s.add_incoming(value, loop)
            builder.cbranch(builder.icmp_signed("<", following, n), loop, after)
            builder.position_at_end(after)
            builder.store(functools.reduce(builder.fadd, new), pointer, align=4)
            return context.get_dummy_value()

        return types.void(types.intp, types.int64, types.intp), emit

    @njit(nogil=True)
    def run(address: int, n: int, rounds: int, out: int) -> None:
        for _ in range(rounds):
            pass_over(address, n, out)

    return run, step


@functools.lru_cache(maxsize=1)
def _cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def _llvm_name() -> str | None:
    """What LLVM calls the CPU, "znver5"; None without llvmlite."""
    try:
        from llvmlite import binding
    except ModuleNotFoundError:
        return None
    return str(binding.get_host_cpu_name())


def _cache_sizes() -> dict[str, str]:
    sizes = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        sizes[f"L{level} {kind.lower()}"] = size
    return sizes
