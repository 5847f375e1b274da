"""The engine against ONNX Runtime on one core, batch 1 x 128, in turns; the ratio is printed and decides nothing."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import inputs, measure, models
from benchmarks.worker import Worker

for _module in ("onnxruntime", "onnx", "torch", "transformers"):
    pytest.importorskip(_module, reason=f"needs {_module} (extra `bench`)")
pytestmark = pytest.mark.benchmark


def test_one_core_against_onnxruntime(benchmark: Any, tmp_path_factory: Any, figures: list[tuple[str, ...]]) -> None:
    files = models.prepare(tmp_path_factory.getbasetemp() / "models")
    ours, peer = Worker("minidistil", files, 1), Worker("onnxruntime", files, 1)
    try:
        workload = inputs.fixed_shape(1, 128)
        difference = measure.disagreement(peer.prepare(workload), ours.prepare(workload))
        turns: dict[str, list[Any]] = {"minidistil": [], "onnxruntime": []}

        def peers_turn() -> None:
            turns["onnxruntime"].append(peer.turn(0.2))
            ours.call()  # the caches are ours again

        benchmark.pedantic(lambda: turns["minidistil"].append(ours.call()), setup=peers_turn, rounds=15)
    finally:
        ours.close()
        peer.close()
    found = {name: measure.summarize(some) for name, some in turns.items()}
    wall = found["minidistil"].median / found["onnxruntime"].median
    cpu = found["minidistil"].cpu / found["onnxruntime"].cpu
    benchmark.extra_info.update(ratio=wall, ratio_of_cpu_time=cpu, difference=difference)
    for name, summary in found.items():
        figures.append((f"{name} 1x128, one core", f"{summary.median * 1e3:.1f} ms", f"cpu {summary.cpu * 1e3:.1f} ms"))
    figures.append(("ours over ONNX Runtime's", f"{wall:.3f}", f"cpu {cpu:.3f}"))
