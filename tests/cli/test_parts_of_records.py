"""Records in parts: shards make the whole, and what was ended is gone on with."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import minidistil
from tests import processes
from tests.cli.support import run
from tests.cli.tables import FORMS, QUICK, TEXTS, pa, read, write


@pytest.mark.parametrize("form", [*FORMS, ".txt"])
def test_shards_one_after_another_are_the_whole(capsys: Any, tmp_path: Path, tasks: dict[str, Path], form: str) -> None:
    source = tmp_path / f"in{form}"
    if form == ".txt":
        source.write_text("".join(f"{text.splitlines()[0] if text else ''}\n" for text in TEXTS))
    else:
        write(source, pa.table({"text": TEXTS, "id": list(map(str, range(len(TEXTS))))}))
    for command, model in [("embed", "sentences"), ("classify", "sentiment")]:
        for target in ("x.jsonl", "x.parquet"):
            asked = (command, source, "-m", tasks[model], *QUICK)
            assert run(capsys, *asked, "-o", tmp_path / target).err == ""
            parts = []
            for i in (1, 2, 3):
                assert run(capsys, *asked, "-o", tmp_path / f"{i}{target}", "--shard", f"{i}/3") == (0, "", "")
                parts.append(tmp_path / f"{i}{target}")
            if target == "x.jsonl":
                assert b"".join(part.read_bytes() for part in parts) == (tmp_path / target).read_bytes()
            else:
                assert pa.concat_tables(map(read, parts)).equals(read(tmp_path / target))
            assert len({part.stat().st_size for part in parts}) > 1 or form == ".txt"
    refused = run(capsys, "embed", "-", "--shard", "1/2", "-m", "nowhere")
    assert "--shard takes a file" in refused.err
    for wrong in ("0/2", "3/2", "1", "a/b"):
        assert "it is I/N, such as 1/4" in run(capsys, "embed", source, "--shard", wrong, "-m", "nowhere").err


KILLED = """
import os, sys
from minidistil import SentenceEncoder
from minidistil.cli import main
from minidistil.sentences import journal
journal.COMMIT_SECONDS = 0.0
honest, calls = SentenceEncoder.encode, 0
def encode(self, sentences, *args, **options):
    global calls
    calls += bool(sentences)
    if calls == 9:  # in the second chunk: null texts divide each into six calls
        os._exit(9)
    return honest(self, sentences, *args, **options)
SentenceEncoder.encode = encode
main(sys.argv[1:])
"""


@pytest.mark.parametrize("out", [".parquet", ".arrow", ".jsonl"])
def test_killed_and_gone_on_with(
    capsys: Any, tmp_path: Path, tasks: dict[str, Path], monkeypatch: pytest.MonkeyPatch, rich: Any, out: str
) -> None:
    table = pa.concat_tables([rich] * 9)  # chunks of 256, with null texts among them
    source, target = write(tmp_path / "in.parquet", table), tmp_path / f"out{out}"
    asked = ("embed", source, "-m", tasks["sentences"], *QUICK)
    ended = processes.run([sys.executable, "-c", KILLED, *asked, "-o", target])
    assert ended.returncode == 9
    assert not target.exists()
    assert (tmp_path / f"out{out}.partial").stat().st_size > 1000
    changed = table.set_column(0, "id", pa.array(range(len(table)), pa.int16()))
    write(tmp_path / "changed.parquet", changed)
    refused = run(capsys, "embed", tmp_path / "changed.parquet", *asked[2:], "-o", target)
    assert "sentence 0 (counted from 0) is another than the one it was made of" in refused.err
    assert "--column" not in refused.err
    computed: list[str] = []
    honest = minidistil.SentenceEncoder.encode

    def counted(self: Any, sentences: Any, **options: Any) -> Any:
        computed.extend(sentences)
        return honest(self, sentences, **options)

    monkeypatch.setattr(minidistil.SentenceEncoder, "encode", counted)
    assert run(capsys, *asked, "-o", target) == (0, "", "")
    assert 0 < len(computed) < 900 - 18 - 3  # something was taken over, and something was left
    monkeypatch.undo()
    assert run(capsys, *asked, "-o", tmp_path / f"whole{out}") == (0, "", "")
    assert target.read_bytes() == (tmp_path / f"whole{out}").read_bytes()
    assert not list(tmp_path.glob("*.partial*"))


ANSWERS_KILLED = """
import os, sys
from minidistil.cli import main
from minidistil.pipelines.base import Pipeline
from minidistil.sentences import journal
journal.COMMIT_SECONDS = 0.0
honest, calls = Pipeline.__call__, 0
def call(self, inputs, **options):
    global calls
    calls += 1
    if calls == 3:
        os._exit(9)
    return honest(self, inputs, **options)
Pipeline.__call__ = call
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("command", "form", "out", "other", "message"),
    [
        ("classify", ".csv", ".parquet", ("-k", "2"), "top_k was 1 and is 2"),
        ("classify", ".parquet", ".csv", ("--all",), "all_labels was False and is True"),
        ("ner", ".parquet", ".jsonl", ("--aggregation", "max"), "aggregation was 'first' and is 'max'"),
        ("ner", ".csv", ".arrow", ("--shard", "1/2"), "shard was None and is [1, 2]"),
    ],
)
def test_answers_are_gone_on_with_too(
    capsys: Any,
    tmp_path: Path,
    tasks: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    form: str,
    out: str,
    other: tuple[str, ...],
    message: str,
) -> None:
    table = pa.table({"id": [str(i) for i in range(300)], "text": TEXTS * 3})
    source, target = write(tmp_path / f"in{form}", table), tmp_path / f"out{out}"
    asked = (command, source, "-m", tasks[{"classify": "sentiment", "ner": "entities"}[command]], *QUICK)
    ended = processes.run([sys.executable, "-c", ANSWERS_KILLED, *asked, "-o", target])
    assert ended.returncode == 9
    assert not target.exists()
    assert (tmp_path / f"out{out}.partial").stat().st_size > 1000
    refused = run(capsys, *asked, "-o", target, *other)
    assert refused.status == 2
    assert message in refused.err
    answered: list[str] = []
    honest = minidistil.pipelines.base.Pipeline.__call__

    def counted(self: Any, inputs: Any, **options: Any) -> Any:
        answered.extend(inputs)
        return honest(self, inputs, **options)

    monkeypatch.setattr(minidistil.pipelines.base.Pipeline, "__call__", counted)
    assert run(capsys, *asked, "-o", target) == (0, "", "")
    assert answered == (TEXTS * 3)[128:]
    monkeypatch.undo()
    assert run(capsys, *asked, "-o", tmp_path / f"whole{out}") == (0, "", "")
    assert target.read_bytes() == (tmp_path / f"whole{out}").read_bytes()
    assert not list(tmp_path.glob("*.partial*"))


def test_labels_are_counted_from_the_beginning(capsys: Any, tmp_path: Path, tasks: dict[str, Path]) -> None:
    """What an interrupted run has left is done anew where agreement with gold labels is asked for."""
    source = write(tmp_path / "in.csv", pa.table({"text": TEXTS, "label": ["1"] * len(TEXTS)}))
    asked = ("classify", source, "-m", tasks["sentiment"], "-o", tmp_path / "out.csv", *QUICK)
    processes.run([sys.executable, "-c", ANSWERS_KILLED.replace("calls == 3", "calls == 2"), *asked])
    assert (tmp_path / "out.csv.partial").exists()
    assert json.loads(run(capsys, *asked, "--gold", "label", "--json").out)["texts"] == len(TEXTS)
    assert len(read(tmp_path / "out.csv")) == len(TEXTS)
