"""`minidistil bench` and `pack`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from minidistil.weights.file_names import PACKED_FILE
from tests.cli.support import run


def test_bench_tells_where_the_time_goes(capsys: pytest.CaptureFixture[str], distilbert_small: Path) -> None:
    result = run(capsys, "bench", str(distilbert_small), "--lengths", "4,30", "--threads", "1")
    assert result.status == 0, result.err
    for words in ("1 thread: at most ", "of memory", "4 tokens:", "30 tokens:", "lin1 + activation", "of peak", "GB/s"):
        assert words in result.out
    assert "0 q, k, v" not in result.out


def test_bench_as_json(capsys: pytest.CaptureFixture[str], distilbert_small: Path) -> None:
    result = run(capsys, "bench", str(distilbert_small), "--lengths", "16", "--batch", "3", "--threads", "2", "--json")
    facts = json.loads(result.out)
    (length,) = facts["lengths"]
    assert (facts["threads"], facts["sentences"], length["tokens"]) == (2, 3, 48)
    assert sum(kernel["share"] for kernel in length["kernels"]) == pytest.approx(1)
    assert {kernel["layer"] for kernel in length["kernels"]} == {None, 0, 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lengths", "8,x"], "not a list of numbers"),
        (["--lengths", "0"], "lengths begin at 1"),
        (["--lengths", "513"], "512 positions"),
        (["--lengths", "512", "--batch", "5"], "more than one pass"),
    ],
)
def test_bench_refuses(
    capsys: pytest.CaptureFixture[str], distilbert_small: Path, options: list[str], message: str
) -> None:
    result = run(capsys, "bench", str(distilbert_small), *options)
    assert result.status == 2
    assert message in result.err
    assert len(result.err.splitlines()) == 1


def test_pack_writes_what_loading_finds(
    capsys: pytest.CaptureFixture[str], distilbert_small: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(distilbert_small, tmp_path / "model"))
    result = run(capsys, "pack", str(folder))
    assert result.status == 0, result.err
    assert (folder / PACKED_FILE).stat().st_size > 1e6
    assert str(folder / PACKED_FILE) in result.out
    assert run(capsys, "verify", str(folder)).status == 0
