"""Huge inputs: points say what they measured; the table and the plot show all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import huge, machine
from tests.synthetic import DISTILBERT_SMALL, write_checkpoint


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("huge")
    with pytest.MonkeyPatch.context() as patch:

        def small(models: Path, exports: bool) -> None:
            write_checkpoint(models / "checkpoint", {**DISTILBERT_SMALL, "vocab_size": 30522}, 0)

        patch.setattr(huge.models, "prepare", small)
        huge.prepare(folder / "models")
    return folder


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory's peak from /proc")
@pytest.mark.parametrize(
    ("kind", "size", "tokens", "megabytes"),
    [("encode", [300], (900, 300 * 64), 300 * 128 * 4e-6), ("file", [300], (900, 300 * 64), 0.0),
     ("batch", [3, 20], (60, 60), 3 * 20 * 128 * 4e-6)],
)  # fmt: skip
def test_a_point_is_of_the_call_that_it_names(
    out: Path, kind: str, size: list[int], tokens: tuple[int, int], megabytes: float
) -> None:
    point = huge.measure(kind, size, 1, out)
    assert tokens[0] <= point["tokens"] <= tokens[1]
    assert point["results_mb"] == pytest.approx(megabytes)
    assert point["seconds"] > 0
    assert point["cpu"] > 0
    assert (point["kind"], point["size"]) == (kind, size)
    assert not (out / "huge.npy").exists()


def results() -> dict[str, Any]:
    points = [
        {"kind": kind, "name": f"{n:,}", "size": [n], "tokens": n * 10, "seconds": n / 1e3, "cpu": n / 2e3}
        | {"results_mb": n / 2e3, "beside_mb": 20.0}
        for kind in huge.KINDS
        for n in (1_000, 10_000)
    ]
    return {"machine": {**machine.describe(), "cpu": "A CPU"}, "threads": 2, "load": 0.0, "points": points}


def test_every_point_is_in_the_table() -> None:
    lines = huge.markdown(results()).splitlines()
    assert len(lines) == 2 + 6
    assert lines[2] == "| encode(texts): 1,000 | 1.0 | 0.5 | 50.00 | 0 | 20 |"


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib (extra `bench`)")
    from benchmarks import plots

    assert plots.draw_huge(results(), tmp_path).stat().st_size > 10_000
