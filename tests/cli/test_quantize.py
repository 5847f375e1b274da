"""`minidistil quantize`: what it prints, and that its faults are one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import minidistil
from tests.cli.support import run


def test_report_as_table_and_json(capsys: pytest.CaptureFixture[str], sentence_small: Path, tmp_path: Path) -> None:
    table = run(
        capsys, "quantize", sentence_small, tmp_path / "one", "--texts", "example:opinions", "--keep", "lin2",
        "--report", tmp_path / "report.json",
    )  # fmt: skip
    assert table.status == 0, table.err
    lines = table.out.splitlines()
    assert lines[0].split() == ["rows", "x", "columns", "stored", "as", "error", "cosine", "least", "MB"]
    assert lines[-1] == f"{tmp_path / 'one'}; try: minidistil verify {tmp_path / 'one'}"
    told = json.loads((tmp_path / "report.json").read_text())
    assert [part["name"] for part in told["parts"]] == [line.split()[0] for line in lines[1 : 1 + len(told["parts"])]]
    assert [part["name"] for part in told["parts"] if part["precision"] == "float32"] == [
        "layer.0.lin2",
        "layer.1.lin2",
    ]
    as_json = run(
        capsys, "quantize", sentence_small, tmp_path / "two", "--json", "--no-measure", "--no-smooth", "--no-pair-limit"
    )
    told = json.loads(as_json.out)
    assert (told["smooth"], told["limit_pairs"], told["cosine"]) == (False, False, None)
    assert not any(part["smoothed"] for part in told["parts"])
    assert minidistil.load(tmp_path / "two").precision == "int8"


def test_columns_in_float32(capsys: pytest.CaptureFixture[str], sentence_small: Path, tmp_path: Path) -> None:
    arguments = ("quantize", sentence_small, tmp_path / "made", "--keep-columns", "0.02", "--no-measure")
    table = run(capsys, *arguments)
    assert table.status == 0, table.err
    assert "stored as  columns kept    MB" in table.out.splitlines()[0]
    assert "columns kept  2 % of each product's in int8, in float32" in table.out.splitlines()
    told = json.loads(run(capsys, *arguments, "--json").out)
    assert told["keep_columns"] == 0.02
    kept = {part["name"]: part["kept_columns"] for part in told["parts"]}
    assert (kept["layer.1.qkv"], kept["layer.1.lin2"], kept["embeddings.word_embeddings"]) == (3, 8, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--keep", "lin9"), "keep has 'lin9', which nothing is called; there are layer.N.qkv"),
        (("--keep-columns", "1"), "1.0 is not in the range 0<=x<1"),
        (("--keep-columns", "nan"), "keep_columns must be a fraction, from 0 to below 1, such as 0.01; got nan"),
        (("--texts", "-"), "give a file, not standard input"),
        (("--texts", "example:opinions", "--column", "body"), "no body among the columns text, label"),
    ],
)
def test_faults(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], sentence_small: Path, tmp_path: Path
) -> None:
    result = run(capsys, "quantize", sentence_small, tmp_path / "made", *arguments)
    assert result.status == 2
    assert result.out == ""
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "made").exists()
