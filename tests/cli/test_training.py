"""`minidistil train ...` and `minidistil distill`: what they make, print, and refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import minidistil
from minidistil.models.tasks import MaskedLM, SequenceClassification, TokenClassification
from minidistil.training import fine_tune
from tests.cli.support import run
from tests.synthetic import DISTILBERT_SMALL

BRIEF = ("--epochs", "1", "--threads", "1", "--max-length", "16")


@pytest.fixture(scope="module")
def start(distilbert_small: Path) -> Path:
    """A model of two layers without a head of its own for labels."""
    return distilbert_small


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [("the cat and the dog", "beast"), ("rain and snow at night", "weather")] * 6
    path = tmp_path / "table.csv"
    path.write_text("words,kind\n" + "".join(f"{text},{label}\n" for text, label in rows))
    return path


def test_frozen_prints_folds_and_figures_and_is_classified_with(capsys, sentence_small, table, tmp_path) -> None:
    columns = ("--column", "words", "--label-column", "kind")
    out = tmp_path / "out"
    made = run(capsys, "train", "frozen", table, *columns, "-s", sentence_small, "-o", out, "--held-out", table)
    assert made.status == 0, made.err
    lines = made.out.splitlines()
    assert sum("(chosen)" in line for line in lines) == 1
    assert re.match(r"decay 100 +held out in 5 parts: accuracy 1\.0000  loss 0\.\d{4}", lines[0])
    assert any(line.startswith("12 examples: accuracy 1.0000") for line in lines)
    assert lines[-1] == f"12 texts, 2 labels; try: minidistil classify FILE -m {out}"
    found = run(capsys, "classify", table, "--column", "words", "--gold", "kind", "-m", out, "--json")
    assert json.loads(found.out)["accuracy"] == 1.0
    given = run(capsys, "train", "frozen", table, *columns, "-s", sentence_small, "-o", out, "--decay", "0.5")
    assert given.status == 0, given.err
    assert "decay" not in given.out


def test_classify_makes_what_fine_tune_makes(capsys, start, table, tmp_path) -> None:
    arguments = ("--start", start, "--column", "words", "--label-column", "kind", *BRIEF, "--seed", "3")
    more = ("--batch-sentences", "4", "--set", "head_dropout=0", "--held-out", table)
    made = run(capsys, "train", "classify", table, "-o", tmp_path / "out", *arguments, *more)
    assert made.status == 0, made.err
    said = {"epochs": 1, "max_length": 16, "seed": 3, "batch_sentences": 4, "head_dropout": 0}
    again = fine_tune(
        table, start=start, out=tmp_path / "again", text="words", label="kind", held_out=table, threads=1, **said
    )
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    figures = "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in again.figures.items())
    assert made.out.splitlines() == [
        f"3 steps; held out: {figures}",
        f"{tmp_path / 'out'}; try: minidistil classify FILE -m {tmp_path / 'out'}",
    ]
    repeated = run(capsys, "train", "classify", table, "-o", tmp_path / "out", *arguments, *more)
    assert repeated.out.startswith("3 steps, before; held out: ")
    other = run(capsys, "train", "classify", table, "-o", tmp_path / "out", *arguments, "--held-out", table)
    assert other.status == 2
    assert "an earlier run here was another: " in other.err
    assert "begin anew with --restart" in other.err
    assert isinstance(minidistil.load(tmp_path / "out"), SequenceClassification)


def test_tokens_masked_words_and_students(capsys, start, table, tmp_path) -> None:
    words = tmp_path / "words.jsonl"
    words.write_text(json.dumps({"text": ["the", "cat", "in", "paris"], "label": ["O", "O", "O", "B-LOC"]}) + "\n")
    lines = tmp_path / "lines.txt"
    lines.write_text("the old man and the sea\nrain and snow in paris\n")
    asked = {
        "tokens": (("train", "tokens", words, "--start", start), TokenClassification, "ner"),
        "language": (("train", "masked-lm", lines, "--start", start), MaskedLM, "fill-mask"),
        "student": (("distill", lines, "--teacher", start, "--layers", "1"), MaskedLM, ""),
        "student of int8": (
            ("distill", lines, "--teacher", start, "--layers", "1", "--teacher-precision", "int8"),
            MaskedLM,
            "",
        ),
    }
    for name, (arguments, kind, command) in asked.items():
        made = run(capsys, *arguments, "-o", tmp_path / name, *BRIEF)
        assert made.status == 0, made.err
        assert made.out.splitlines()[0] == "1 step"
        assert (f"try: minidistil {command}" in made.out) == bool(command)
        loaded = minidistil.load(tmp_path / name)
        assert isinstance(loaded, kind)
        assert loaded.config.n_layers == (1 if name.startswith("student") else DISTILBERT_SMALL["n_layers"])
    begun = {name: json.loads((tmp_path / name / "training" / "run.json").read_text()) for name in asked}
    assert begun["student of int8"].pop("teacher_precision") == "int8"
    differing = [key for key, value in begun["student"].items() if begun["student of int8"][key] != value]
    assert differing == ["teacher"]
    pytest.importorskip("matplotlib")
    drawn = run(capsys, "train", "curves", tmp_path / "tokens", tmp_path / "student", "-o", tmp_path / "both.svg")
    assert drawn.out == f"{tmp_path / 'both.svg'}\n"
    assert "<svg" in (tmp_path / "both.svg").read_text()


FAULTS = {
    "no start": (("train", "classify", "{table}", "-o", "{out}"), "Missing option '--start'"),
    "a setting that is none": (
        ("train", "classify", "{table}", "-o", "{out}", "-s", "{start}", "--set", "speed=3"),
        "there is no setting 'speed'; there are epochs, ",
    ),
    "a setting without a value": (
        ("train", "classify", "{table}", "-o", "{out}", "-s", "{start}", "--set", "seed"),
        "'seed': it is NAME=VALUE",
    ),
    "no such column": (("train", "classify", "{table}", "-o", "{out}", "-s", "{start}"), "no text and no label among"),
    "lines without labels": (
        ("train", "frozen", "{lines}", "-o", "{out}", "-s", "{start}"),
        "lines of text have no labels",
    ),
    "layers that are none": (
        ("distill", "{lines}", "-o", "{out}", "--teacher", "{start}", "--layers", "two"),
        "'two': it is a number, or several as 0,2,4",
    ),
    "a run that is none": (("train", "curves", "{here}", "-o", "{out}.png"), "has no training/log.jsonl"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_is_wrong_is_one_line(capsys, case, start, table, tmp_path) -> None:
    (tmp_path / "lines.txt").write_text("a\nb\n")
    places = {
        "table": table,
        "out": tmp_path / "out",
        "start": start,
        "lines": tmp_path / "lines.txt",
        "here": tmp_path,
    }
    arguments, message = FAULTS[case]
    result = run(capsys, *(argument.format(**places) for argument in arguments))
    assert result.status == 2
    assert message in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_no_number_is_said_without_a_trace(capsys, start, table, tmp_path) -> None:
    columns = ("--column", "words", "--label-column", "kind")
    arguments = ("train", "classify", table, "-o", tmp_path / "out", "--start", start, *columns, *BRIEF)
    result = run(capsys, *arguments, "--batch-sentences", "1", "--learning-rate", "1e20")
    assert result.status == 2
    assert "minidistil: step " in result.err
    assert "a lower --learning-rate may help" in result.err
    assert "unexpected" not in result.err
