"""Texts that come one after another are answered as they come; and what a terminal is told and shown."""

import contextlib
import io
import json
import os
import pty
import subprocess

import numpy as np
import pytest

import minidistil
from minidistil.cli.records import Source
from minidistil.cli.words import WORDS
from minidistil.records.lines import Lines, batches
from tests.cli.support import ROOT, command, run
from tests.pipelines.checkpoints import write_small
from tests.processes import HANGS, started

QUICK = ("--threads", "1")


@pytest.fixture
def pipe(monkeypatch):
    """Standard input as a pipe; gives the end that is written to."""
    reading, writing = os.pipe()
    with open(reading, "rb") as source, open(writing, "wb", buffering=0) as end:  # noqa: PTH123 (descriptors)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(source))
        yield end


COMING = {  # the kind of text, the parts that are written, and the texts that are there after each
    "text": ([b"one\n", b"two\n\n", b"  \nthree\nfo", b"ur\n"], [["one"], ["two"], ["three"], ["four"]]),
    "csv": (
        [b"id,text\n", b"1,one\n\n2,two\n", b'3,"th\nree"\n4,fo', b"ur\n"],
        [[], ["one", "two"], ["th\nree"], ["four"]],
    ),
    "jsonl": ([b'{"text": "one"}\n\n', b'{"text": "two"}\n'], [["one"], ["two"]]),
}


@pytest.mark.parametrize("kind", COMING)
def test_records_are_handed_on_before_the_next_is_waited_for(pipe, awake, kind):
    parts, there = COMING[kind]
    found = Source("-", (), kind, "utf-8", ("text",)).batches(64)
    for part, texts in zip(parts, there, strict=True):
        pipe.write(part)
        if texts:
            assert [record.values["text"] for record in next(found)] == texts
    pipe.close()
    assert list(found) == []


def test_what_is_there_at_once_is_answered_together(pipe, awake):
    pipe.write(b"".join(b"%d\n" % i for i in range(150)) + b"end")
    pipe.close()
    found = [len(batch) for batch in Source("-", (), "text", "utf-8", ("text",)).batches(64)]
    assert found == [64, 64, 23]


def test_a_file_is_never_waited_for(tmp_path):
    (tmp_path / "a.txt").write_text("a\nb\n")
    lines = Lines(str(tmp_path / "a.txt"), "utf-8")
    assert list(lines.as_they_come()) == [(1, "a"), (2, "b")]
    assert not lines.wait()
    assert list(batches([1, None, None, 2, 3, 4, None], 2)) == [[1], [2, 3], [4]]


@pytest.mark.parametrize("name", ["classify", "embed"])
def test_a_stream_is_answered_line_by_line(tmp_path, sentence_small, name):
    model = sentence_small if name == "embed" else write_small(tmp_path, "sentiment")
    as_json = ("--json",) if name == "classify" else ()
    arguments = command(name, "-m", model, *as_json, *QUICK)
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    with started(arguments, **pipes) as process:
        for text in ("a dog barks", "the sun"):
            process.stdin.write(f"{text}\n".encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["text"] == text  # while the stream goes on
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(HANGS) == 0


class _Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def test_standard_input_on_a_terminal_says_that_it_waits(capsys, monkeypatch, sentence_small):
    monkeypatch.setattr("sys.stdin", _Terminal(io.BytesIO(b"a dog\n")))
    result = run(capsys, "embed", "-m", sentence_small, *QUICK)
    assert result.err == "minidistil: reading what you type, a text a line; Ctrl-D ends it\n"
    assert json.loads(result.out)["text"] == "a dog"
    monkeypatch.setattr("sys.stdin", None)
    assert "standard input is closed" in run(capsys, "embed", "-m", sentence_small, *QUICK).err


def test_a_terminal_is_not_flooded_with_numbers(capsys, monkeypatch, tmp_path, sentence_small):
    (tmp_path / "in.txt").write_text("a dog\nthe\x1b[31m sun\n")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "90")
    arguments = ("embed", tmp_path / "in.txt", "-m", sentence_small, *QUICK)
    result = run(capsys, *arguments, "--truncate-dim", "6")
    rows = minidistil.load(sentence_small, threads=1).encode(["a dog", "the\x1b[31m sun"], truncate_dim=6)
    shown = [" ".join(f"{number:6.3f}" for number in row[:4]) for row in rows]
    plain = result.out.replace("\x1b[32m", "").replace("\x1b[0m", "").splitlines()
    assert plain == [f"{shown[0]} … 6 numbers  a dog", f"{shown[1]} … 6 numbers  the [31m sun"]
    assert "-o FILE" in result.err
    assert np.abs(rows).max() > 0.01


COLOURS = {
    "a terminal": ({"TERM": "xterm", "NO_COLOR": None}, True),
    "NO_COLOR": ({"TERM": "xterm", "NO_COLOR": "1"}, False),
    "an empty NO_COLOR": ({"TERM": "xterm", "NO_COLOR": ""}, True),
    "a dumb terminal": ({"TERM": "dumb", "NO_COLOR": None}, False),
}


@pytest.mark.parametrize("case", COLOURS)
def test_colours_where_they_are_wanted(case, distilbert_small):
    environment, coloured = COLOURS[case]
    ours, theirs = pty.openpty()
    with started(command("inspect", distilbert_small), stdout=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal ends
            while part := os.read(ours, 1 << 16):
                shown += part
        os.close(ours)
        assert process.wait(HANGS) == 0
    assert b"architecture" in shown
    assert (b"\x1b[" in shown) == coloured


def test_the_words_of_the_library_are_the_shells(capsys, tmp_path, sentence_small):
    said = "".join(file.read_text() for top in ("minidistil", "weights") for file in (ROOT / top).rglob("*.py"))
    library = said.replace((ROOT / "minidistil" / "cli" / "words.py").read_text(), "")
    assert [word for word in WORDS if word not in library] == []
    (tmp_path / "out.npy.partial").write_bytes(b"of something else")
    (tmp_path / "in.txt").write_text("a\n")
    asked = ("embed", tmp_path / "in.txt", "-o", tmp_path / "out.npy", "-m", sentence_small, *QUICK)
    err = run(capsys, *asked).err
    assert "begin anew with --restart" in err
    assert "resume" not in err
