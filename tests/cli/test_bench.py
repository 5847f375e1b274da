"""`minidistil bench` and `pack`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from minidistil.weights.file_names import PACKED_FILE
from tests.cli.support import run
from tests.synthetic import DISTILBERT_SMALL, write_checkpoint


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
    result = run(capsys, "verify", str(folder))
    assert result.status == 0
    assert [line.split() for line in result.out.splitlines() if line.startswith("packed")] == [
        "packed weights every bit agrees".split()
    ]


def test_verify_finds_packed_weights_of_another_checkpoint(
    capsys: pytest.CaptureFixture[str], distilbert_small: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(distilbert_small, tmp_path / "model"))
    assert json.loads(run(capsys, "verify", str(folder), "--json").out)["packed"] is None
    run(capsys, "pack", str(folder))
    assert json.loads(run(capsys, "verify", str(folder), "--json").out)["packed"] == {"agree": True, "fault": None}
    write_checkpoint(folder, DISTILBERT_SMALL, seed=7)
    result = run(capsys, "verify", str(folder))
    assert result.status == 1
    assert result.out.splitlines()[-1] == "every bit agrees; the packed weights cannot be used"
    assert "made from other weights" in result.out
    result = run(capsys, "verify", str(folder), "--json")
    assert result.status == 1
    facts = json.loads(result.out)
    assert facts["agree"] is True
    assert facts["packed"]["agree"] is False
    assert "made from other weights" in facts["packed"]["fault"]
