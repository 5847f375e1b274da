"""Every kernel at DistilBERT-base's sizes, one core: GFLOP/s, fraction of the measured peak, GB/s.

No time decides whether a case passes.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from benchmarks import kernel_cases, machine

pytest.importorskip("pytest_benchmark", reason="needs pytest-benchmark (extra `test`)")
# CPU time of the calling thread, which computes: what else the machine does does not count.
pytestmark = pytest.mark.benchmark(timer=time.thread_time)

_NAMES = [(kernel, tokens) for tokens in kernel_cases.ROWS for kernel in kernel_cases.listing(tokens)]


@pytest.fixture(scope="module")
def roofs() -> machine.Roofs:
    return machine.measure_roofs(1)


@pytest.mark.parametrize(("kernel", "tokens"), _NAMES, ids=[f"{kernel}-{tokens}" for kernel, tokens in _NAMES])
def test_kernel(kernel: str, tokens: int, benchmark: Any, roofs: machine.Roofs, figures: list[tuple[str, ...]]) -> None:
    case = kernel_cases.make(kernel, tokens)
    case.run()  # compiled, or loaded from the cache
    benchmark.group = f"{tokens} tokens"
    benchmark(case.run)
    seconds = benchmark.stats.stats.median
    traffic = case.bytes / seconds / 1e9
    benchmark.extra_info.update(gb_per_s=traffic, bytes=case.bytes, flops=case.flops, memory_roof=roofs.memory)
    line = [case.name, f"{seconds * 1e6:.1f} us", f"{traffic:.1f} GB/s"]
    if case.flops:
        rate = case.flops / seconds / 1e9
        benchmark.extra_info.update(gflops=rate, fraction_of_peak=rate / roofs.gflops, peak=roofs.gflops)
        line += [f"{rate:.1f} GFLOP/s", f"{rate / roofs.gflops:.0%} of peak"]
    figures.append(tuple(line))
