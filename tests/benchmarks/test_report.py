"""The report: rows that lose are there and marked; faults are told."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from benchmarks import footprint, machine, report


def found(median: float, share: float = 1.0, cpu: float | None = None) -> dict[str, Any]:
    cpu = median * share if cpu is None else cpu
    spread = {"least": median * 0.8, "p10": median * 0.9, "p90": median * 1.1}
    return {"median": median, **spread, "cpu": cpu, "share": share, "cores": share}


def results() -> dict[str, Any]:
    row = {"section": "latency", "workload": "1x8", "threads": 1, "tokens": 8, "wrong": {}}
    return {
        "created": "2026-01-01",
        "quick": False,
        "machine": {**machine.describe(), "cpu": "A CPU"},
        "roofs": {"gflops": 100.0, "memory": 30.0, "gflops_all": 200.0, "memory_all": 60.0, "threads": 2, "caches": {}},
        "load_before": 0.1,
        "load_after": 0.2,
        "versions": {"numpy": "2.0"},
        "rows": [
            {**row, "engines": {"minidistil": found(0.004), "pytorch": found(0.02), "openvino": found(0.005)}},
            {**row, "workload": "1x32", "engines": {"minidistil": found(0.03), "openvino": found(0.02)}},
            {
                **row,
                "workload": "8x128",
                "section": "throughput",
                "engines": {"minidistil": found(0.8, share=0.5, cpu=0.4), "openvino": found(0.72, cpu=0.6)},
                "wrong": {"pytorch": "zeros"},
            },
        ],
        "faults": ["pytorch: zeros"],
    }


def line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {start}"))


def test_the_fastest_is_bold_and_the_lead_is_over_the_best_peer() -> None:
    row = line(report.markdown(results()), "1x8")
    assert "**4.00** (3.20; 3.60-4.40)" in row
    assert row.endswith("| 1.25 | 1.25 |")


def test_the_least_values_have_a_lead_of_their_own() -> None:
    some = results()
    some["rows"][0]["engines"]["openvino"]["least"] = 0.0016
    assert line(report.markdown(some), "1x8").endswith("| 1.25 | 0.50 |")


def test_the_cpu_and_its_instructions_are_named() -> None:
    some = results()
    assert "A CPU (family, model" in report.markdown(some)
    assert "AVX2 code" not in report.markdown(some)
    some["machine"]["llvm_name"] = "znver9"
    some["held_to_avx2"] = ["A=1", "b from a copy"]
    text = report.markdown(some)
    assert "; znver9 to LLVM)" in text
    assert "**Everyone on plain AVX2 code**: A=1; b from a copy." in text


def test_a_lost_row_is_shown_and_marked() -> None:
    row = line(report.markdown(results()), "1x32")
    assert "**20.0**" in row
    assert row.endswith("| 0.67 **slower** | 0.67 |")


def test_a_disturbed_row_gives_the_ratio_of_cpu_time() -> None:
    row = line(report.markdown(results()), "8x128")
    assert "800.0†" in row
    assert "| 0.90 **slower** (1.50) |" in row


def test_wrong_answers_are_told() -> None:
    text = report.markdown(results())
    assert "WRONG" in line(text, "8x128")
    assert "- pytorch: zeros" in text


def test_other_processes_are_no_news_on_two_threads() -> None:
    some = results()
    for row in some["rows"]:
        row["threads"] = 2
    assert "0.90 **slower** |" in line(report.markdown(some), "8x128")


def test_a_lone_engine_leads_nobody() -> None:
    some = copy.deepcopy(results())
    some["rows"] = [{**some["rows"][0], "engines": {"minidistil": found(1)}}]
    assert line(report.markdown(some), "1x8").endswith("| - | - |")


def test_plots_are_drawn(tmp_path: Any) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib (extra `bench`)")
    from benchmarks import plots

    some = results()
    some["layers"] = [
        {"kernel": "lin1", "tokens": m, "flops": m * 10**6, "bytes": 10**6, "median": m * 1e-5} for m in (8, 32)
    ]
    some["roofs"]["caches"] = {"16": 200.0, "256": 120.0, "8192": 90.0}
    files = plots.draw(some, tmp_path)
    assert [f.name for f in files] == ["engines.png", "roofline.png"]
    assert all(f.stat().st_size > 10_000 and f.with_suffix(".svg").exists() for f in files)


def test_an_installation_counts_what_it_requires() -> None:
    pytest.importorskip("packaging", reason="comes with pytest and huggingface_hub")
    sizes = footprint.installed(("minidistil",))
    assert {"minidistil", "numpy", "numba", "llvmlite", "safetensors", "tokenizers"} <= set(sizes)
    assert sizes["llvmlite"] > 20e6 > sizes["minidistil"] > 50e3
    assert "torch" not in sizes
    assert footprint.installed(("a-name-that-nobody-has",)) == {}
