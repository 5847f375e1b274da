"""What is wrong with records is told all at once, with its place; what cannot be done, with what can."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.cli.support import run, run_process
from tests.cli.tables import QUICK, pa, write


def many(*rows: str) -> str:
    return "".join(f"{row}\n" for row in rows)


BAD: dict[str, tuple[str, Any, list[str], list[str]]] = {
    "rows of CSV": (
        "in.csv", many("id,text", "1,a", "2", "3,b", "4,c,d"), [],
        ["in.csv:3: 1 cells, and the header has 2", "in.csv:5: 3 cells, and the header has 2"],
    ),
    "lines of JSON": (
        "in.jsonl", many('{"text": "a"}', "{", '{"body": 1}', '{"text": 3}', "[]"), [],
        ["in.jsonl:2: not a line of JSON", "in.jsonl:3: no text among the columns body", "in.jsonl:4: text is no text, "
         "but int", "in.jsonl:5: not an object, but list"],
    ),
    "more than can be told": ("in.csv", many("text", *["a,b"] * 30), [], ["in.csv:21: 2 cells", "; and 10 more"]),
    "no such column": ("in.parquet", pa.table({"a": [1]}), [], ["in.parquet: no column 'text' among a"]),
    "two columns of a pair": (
        "in.parquet", pa.table({"text": [1]}), ["--pair-column", "b"],
        ["in.parquet: column 'text' is no text, but int64", "in.parquet: no column 'b' among text"],
    ),
    "bytes that are no text": (
        "in.arrow", pa.table({"text": pa.array([b"a", b"\xff", b"\xfe"]).view(pa.string())}), [],
        ["in.arrow:2: text: byte 0xff is not UTF-8", "in.arrow:3: text: byte 0xfe is not UTF-8"],
    ),
    "two columns of one name": (
        "in.arrow", pa.table([["a"], ["b"]], names=["text", "text"]), [], ["in.arrow: two columns have the same name"],
    ),
    "no Parquet": ("in.parquet", "text\n", [], ["in.parquet: is no Parquet file, or a damaged one"]),
    "no Arrow": ("in.arrow", "text\n", [], ["in.arrow: is no Arrow file, or a damaged one"]),
    "no types in common": (
        "in.jsonl", many('{"text": "a", "x": 1}', '{"text": "b", "x": "c"}'), ["-o", "out.parquet"],
        ["in.jsonl: column 'x' holds values that have no type in common", "write .jsonl"],
    ),
    "labels": (
        "in.csv", many("text,gold", "a,1", "b,neutral", "c,POSITIVE"), ["--gold", "gold"],
        ["in.csv:3: gold is 'neutral'", "the model's labels are 0 NEGATIVE, 1 POSITIVE"],
    ),
    "no such labels": ("in.csv", many("text", "a"), ["--gold", "gold"], ["in.csv:1: no gold among the columns text"]),
    "no labels at all": ("in.jsonl", many('{"text": "a", "g": null}'), ["--gold", "g"], ["no text has a label in"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_all_faults_at_once(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tasks: dict[str, Path], case: str
) -> None:
    name, content, options, messages = BAD[case]
    monkeypatch.chdir(tmp_path)
    if isinstance(content, str):
        Path(name).write_text(content)
    else:
        write(Path(name), content)
    result = run(capsys, "classify", name, "-m", tasks["sentiment"], *QUICK, *options)
    assert result.status == 2
    assert result.err.count("\n") == 1, result.err
    for message in messages:
        assert message in result.err
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_what_cannot_be_written_is_told_with_what_can(capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a\n")
    for name in ("out.csv", "out.json", "out", "out.txt"):
        result = run(capsys, "embed", tmp_path / "in.txt", "-o", tmp_path / name, "-m", "nowhere")
        assert result.status == 2
        assert ".npy, .jsonl, .ndjson, .arrow, .feather, .parquet" in result.err
    assert not list(tmp_path.glob("out*"))


def test_what_a_form_cannot_hold_is_told(capsys: Any, tmp_path: Path, tasks: dict[str, Path]) -> None:
    source = write(
        tmp_path / "in.arrow", pa.table({"text": ["a"], "raw": [b"\x00"], "day": [datetime.date(2020, 1, 2)]})
    )
    arguments = ("-m", tasks["sentiment"], *QUICK)
    for name in ("out.jsonl", "out.csv"):
        result = run(capsys, "classify", source, "-o", tmp_path / name, *arguments)
        assert "column 'raw': JSON has no form for bytes; write .parquet or .arrow" in result.err
        assert "nothing was written" in result.err
    odd = pa.table({"text": ["a"], "x": pa.array([None], pa.month_day_nano_interval())})
    source = write(tmp_path / "odd.arrow", odd)
    for command, model in [("classify", tasks["sentiment"]), ("embed", tasks["sentences"])]:
        result = run(capsys, command, source, "-o", tmp_path / "out.parquet", "-m", model, *QUICK)
        assert "Parquet cannot hold these columns" in result.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.arrow", "odd.arrow"]


def test_without_pyarrow_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    code = "import sys; sys.modules['pyarrow'] = None; from minidistil.cli import main; print(main(sys.argv[1:]))"
    (tmp_path / "in.txt").write_text("a\n")
    (tmp_path / "in.parquet").write_text("a\n")
    for arguments in (
        ("classify", "in.parquet", "-m", "x"),
        ("classify", "in.txt", "-o", "out.arrow", "-m", "x"),
        ("embed", "in.txt", "-o", "out.parquet", "-m", "x"),
        ("search", "q", "in.parquet", "-m", "x"),
        ("rerank", "q", "in.txt", "-o", "out.parquet", "-m", "x"),
    ):
        done = processes.run([sys.executable, "-c", code, *arguments], cwd=tmp_path)
        assert done.stdout == "2\n"
        assert 'pip install "minidistil[arrow]"' in done.stderr


def test_commands_without_tables_load_no_pyarrow(tmp_path: Path, tasks: dict[str, Path]) -> None:
    code = "import sys; from minidistil.cli import main; main(sys.argv[1:]); assert 'pyarrow' not in sys.modules"
    (tmp_path / "in.csv").write_text("text\na\n")
    processes.python(
        code, "classify", str(tmp_path / "in.csv"), "-m", str(tasks["sentiment"]), "-o", str(tmp_path / "o.jsonl")
    )
    processes.python(
        code, "embed", str(tmp_path / "in.csv"), "-m", str(tasks["sentences"]), "-o", str(tmp_path / "o.npy")
    )
    assert run_process("--help").status == 0
