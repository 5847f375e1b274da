"""`minidistil bench` and `pack`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidistil.cli import estimate
from minidistil.weights.file_names import PACKED_FILES
from tests.cli.support import run
from tests.synthetic import DISTILBERT_SMALL, write_checkpoint


def test_bench_tells_where_the_time_goes(capsys: pytest.CaptureFixture[str], distilbert_small: Path) -> None:
    result = run(capsys, "bench", str(distilbert_small), "--lengths", "4,30", "--threads", "1")
    assert result.status == 0, result.err
    for words in (
        "float32 on 1 thread: at most ",
        "of reading",
        " passes), ",
        "of its core's time",
        "4 tokens:",
        "30 tokens:",
        "lin1 + activation",
        "of peak",
        "GB/s",
    ):
        assert words in result.out
    assert "0 q, k, v" not in result.out


def test_bench_as_json(capsys: pytest.CaptureFixture[str], distilbert_small: Path) -> None:
    result = run(capsys, "bench", str(distilbert_small), "--lengths", "16", "--batch", "3", "--threads", "2", "--json")
    facts = json.loads(result.out)
    (length,) = facts["lengths"]
    assert (facts["precision"], facts["threads"], facts["sentences"], length["tokens"]) == ("float32", 2, 3, 48)
    assert sum(kernel["share"] for kernel in length["kernels"]) == pytest.approx(1)
    assert {kernel["layer"] for kernel in length["kernels"]} == {None, 0, 1}
    assert length["milliseconds_p10"] <= length["milliseconds"] <= length["milliseconds_p90"]
    assert length["passes"] >= 9
    assert facts["memory_gb_s_p10"] <= facts["memory_gb_s"] <= facts["memory_gb_s_p90"]
    assert 0.9 < facts["memory_mb"] < 1.6, "as many bytes as the weights, which may stay in a cache"
    assert 0 < facts["cores_had"] <= 1.1


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


def test_bench_estimates_a_file(
    capsys: pytest.CaptureFixture[str], sentence_small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("".join(f"a sentence {i} " + "word " * (i % 90) + "\n" for i in range(900)))
    monkeypatch.setattr(estimate, "_SAMPLE", 300)
    result = run(capsys, "bench", str(sentence_small), str(file), "--threads", "1", "--json")
    assert result.status == 0, result.err
    facts = json.loads(result.out)
    assert (facts["texts"], facts["measured"], facts["limit"], facts["threads"]) == (900, 225, 64, 1)
    assert 0.2 < facts["cut"] < 0.5, "of texts with up to 90 words and more, those beyond 64 tokens"
    assert facts["tokens_median"] < facts["tokens_p95"]
    assert 0 < facts["seconds"] < 900
    out = run(capsys, "bench", str(sentence_small), str(file), "--threads", "1").out
    assert "texts.txt: 900 texts, of " in out
    assert " are cut at 64\n" in out
    assert " here in float32: " in out


def test_bench_estimates_nothing_of_nothing(
    capsys: pytest.CaptureFixture[str], sentence_small: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.txt").write_text("")
    result = run(capsys, "bench", str(sentence_small), str(tmp_path / "empty.txt"))
    assert result.status == 2
    assert "has no lines" in result.err


@given(st.integers(0, 700), st.integers(1, 50))
def test_a_sample_is_of_all_parts(count: int, most: int) -> None:
    found, kept = estimate.thinned(range(count), most)
    assert found == count
    assert len(kept) == min(count, len(kept)) <= most
    assert len(kept) > min(count, most) // 2 - 1
    assert kept == list(range(0, count, kept[1] if len(kept) > 1 else max(count, 1)))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.618, "0.62 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.7, "60 s"),
        (61, "1 min 1 s"),
        (3599.6, "1 h 0 min"),
        (39840, "11 h 4 min"),
        (86399, "1 d 0 h"),
        (200000, "2 d 8 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert estimate.duration(seconds) == words


def test_a_busy_machine_is_told() -> None:
    assert estimate.busy(0.99, 2, 0.3) == "undisturbed: this process had 99% of the time of 2 cores; load 0.3 before"
    assert estimate.busy(0.5, 1, None).startswith("the machine is busy: this process had 50% of its core's time; fig")


def test_pack_writes_what_loading_finds(
    capsys: pytest.CaptureFixture[str], distilbert_small: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(distilbert_small, tmp_path / "model"))
    sizes = []
    for precision, name in PACKED_FILES.items():
        result = run(capsys, "pack", str(folder), *["--model-precision", precision] * (precision != "float32"))
        assert result.status == 0, result.err
        assert str(folder / name) in result.out
        sizes.append((folder / name).stat().st_size)
    assert 1e5 < sizes[2] < sizes[1] < sizes[0]
    digests = []
    for precision in PACKED_FILES:
        result = run(capsys, "verify", str(folder), "--model-precision", precision)
        assert result.status == 0
        assert [line for line in result.out.splitlines() if line.startswith("packed")] == [
            f"{f'packed {name}':18} every bit agrees" for name in PACKED_FILES
        ]
        digests += [line for line in result.out.splitlines() if line.startswith("output")]
    assert len(set(digests)) == 3


def test_verify_finds_packed_weights_of_another_checkpoint(
    capsys: pytest.CaptureFixture[str], distilbert_small: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(distilbert_small, tmp_path / "model"))
    assert json.loads(run(capsys, "verify", str(folder), "--json").out)["packed"] == {}
    run(capsys, "pack", str(folder))
    whole = {"float32": {"agree": True, "fault": None}}
    assert json.loads(run(capsys, "verify", str(folder), "--json").out)["packed"] == whole
    write_checkpoint(folder, DISTILBERT_SMALL, seed=7)
    result = run(capsys, "verify", str(folder))
    assert result.status == 1
    assert result.out.splitlines()[-1] == "every bit agrees; the packed weights cannot be used"
    assert "made from other weights" in result.out
    result = run(capsys, "verify", str(folder), "--json")
    assert result.status == 1
    facts = json.loads(result.out)
    assert facts["agree"] is True
    assert facts["packed"]["float32"]["agree"] is False
    assert "made from other weights" in facts["packed"]["float32"]["fault"]
