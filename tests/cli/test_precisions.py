"""--model-precision, wherever a command takes a model: what the library gives in that precision."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import minidistil
from tests.cli.support import every_command, run
from tests.pipelines.checkpoints import write_small
from tests.synthetic import DISTILBERT_SMALL
from tests.weights import quantized

HOW = ("--threads", "1")
TEXTS = ["the city of light", "wine is great , people play music", "paris"]
LABELS = ["wine", "a city"]
NOT_HERE = {
    "completion": "takes no model",
    "inspect": "shows what is stored",
    "quantize": "makes int8",
    "warmup": "takes no model",
    "train": "is a group",
    "train classify": "changes float32 weights",
    "train tokens": "changes float32 weights",
    "train masked-lm": "changes float32 weights",
    "train curves": "takes no model",
    "distill": "makes float32 weights; the teacher's are asked for by --teacher-precision",
}


def _pipeline(task: str, ask: Callable[[Any], Any], **options: Any) -> Callable[..., Any]:
    def answers(folder: Path, **how: Any) -> Any:
        return ask(minidistil.pipeline(task, model=folder, **options, **how))

    return answers


def _entities(pipe: Any) -> Any:
    return [[entity["score"] for entity in found] for found in pipe(TEXTS)]


def _ranked(folder: Path, **how: Any) -> Any:
    return [row["score"] for row in minidistil.CrossEncoder(folder, **how).rank("wine", TEXTS)]


def _found(folder: Path, **how: Any) -> Any:
    model = minidistil.load(folder, **how)
    rows = model.encode_document(TEXTS, normalize_embeddings=True)
    query = model.encode_query("wine", normalize_embeddings=True)
    return sorted(np.add.reduce(rows * query, axis=1).tolist(), reverse=True)


# The command: checkpoint, arguments ({} is the file of texts), what is read of its output, what the library says.
COMMANDS: dict[str, tuple[str, tuple[str, ...], Callable[[list[Any]], Any], Callable[..., Any]]] = {
    "classify": (
        "sentiment",
        ("{}", "--json"),
        lambda rows: [row["score"] for row in rows],
        _pipeline("text-classification", lambda pipe: [answer["score"] for answer in pipe(TEXTS)]),
    ),
    "zero-shot": (
        "entailment",
        ("{}", "--json", "-l", ",".join(LABELS)),
        lambda rows: [[label["score"] for label in row["labels"]] for row in rows],
        _pipeline("zero-shot-classification", lambda pipe: [answer["scores"] for answer in pipe(TEXTS, LABELS)]),
    ),
    "ner": (
        "entities",
        ("{}", "--json"),
        lambda rows: [[entity["score"] for entity in row["entities"]] for row in rows],
        _pipeline("ner", _entities, aggregation_strategy="first"),
    ),
    "qa": (
        "questions",
        ("what ?", "{}", "--json"),
        lambda rows: rows[0]["score"],
        _pipeline("question-answering", lambda pipe: pipe("what ?", "\n".join(TEXTS))["score"]),
    ),
    "fill-mask": (
        "words-electra",
        ("the [MASK] of light", "--json"),
        lambda rows: [row["score"] for row in rows[0]],
        _pipeline("fill-mask", lambda pipe: [row["score"] for row in pipe("the [MASK] of light")]),
    ),
    "embed": (
        "sentences",
        ("{}",),
        lambda rows: np.array([row["embedding"] for row in rows], np.float32).tolist(),
        lambda folder, **how: minidistil.load(folder, **how).encode(TEXTS).tolist(),
    ),
    "search": ("sentences", ("wine", "{}", "--json"), lambda rows: [row["score"] for row in rows], _found),
    "rerank": ("reranker", ("wine", "{}", "--json"), lambda rows: [row["score"] for row in rows], _ranked),
    "explain": (
        "sentiment",
        (TEXTS[0], "--text"),
        lambda rows: rows,
        lambda folder, **how: minidistil.explain(minidistil.load(folder, **how), TEXTS[0]).text().splitlines(),
    ),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tasks: dict[str, Path]) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("words")
    return {**tasks, "words-electra": write_small(folder, "words-electra")}


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n")
    return path


def _rows(out: str) -> list[Any]:
    if out[:1] == "[":
        return list(json.loads(out))
    return [json.loads(line) if line[:1] == "{" else line for line in out.splitlines()]


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_gives_what_the_library_gives(
    capsys: pytest.CaptureFixture[str], folders: dict[str, Path], texts: Path, name: str, precision: Any
) -> None:
    model, arguments, shown, answers = COMMANDS[name]
    asked = [argument.format(texts) for argument in arguments]
    result = run(capsys, name, *asked, "-m", folders[model], "--model-precision", precision, *HOW)
    assert result.status == 0, result.err
    want = answers(folders[model], backend="exact", precision=precision)
    assert shown(_rows(result.out)) == (json.loads(json.dumps(want)))
    assert want != answers(folders[model], backend="exact")


def test_the_demo_says_it_in_its_lines(capsys: pytest.CaptureFixture[str], folders: dict[str, Path]) -> None:
    result = run(capsys, "demo", "-m", folders["sentences"], "--model-precision", "int8")
    assert result.status == 0, result.err
    lines = [click.unstyle(line) for line in result.out.splitlines()]
    made = [line for line in lines if "minidistil.SentenceTransformer(" in line]
    assert len(made) == 2
    assert all(', precision="int8"' in line for line in made)
    assert lines.count("True") == 2  # alone and in company; in the engine and in plain NumPy


def test_bench_compares_precisions(capsys: pytest.CaptureFixture[str], folders: dict[str, Path]) -> None:
    arguments = ("bench", folders["sentences"], "--lengths", "4,30", "--threads", "1")
    several = ("--model-precision", "float32", "--model-precision", "int8", "--model-precision", "int8")
    result = run(capsys, *arguments, *several)
    assert result.status == 0, result.err
    for precision in ("float32", "int8"):
        assert f"{precision} on 1 thread: at most " in result.out
    head, *rows = result.out.splitlines()[-3:]
    assert head.split() == ["4", "tokens", "30", "tokens"]
    assert [row.split()[0] for row in rows] == ["float32", "int8"]
    assert rows[0].split()[3::3] == ["1.0x", "1.0x"]
    facts = json.loads(run(capsys, *arguments, *several, "--json").out)
    assert [one["precision"] for one in facts] == ["float32", "int8"]
    assert facts[1]["memory_mb"] < 0.35 * facts[0]["memory_mb"]
    (one,) = [json.loads(run(capsys, *arguments, "--model-precision", "bfloat16", "--json").out)]
    assert one["precision"] == "bfloat16"


def test_bench_estimates_in_each_precision(
    capsys: pytest.CaptureFixture[str], folders: dict[str, Path], texts: Path
) -> None:
    several = ("--model-precision", "float32", "--model-precision", "bfloat16")
    arguments = ("bench", folders["sentences"], texts, "--threads", "1", *several)
    facts = json.loads(run(capsys, *arguments, "--json").out)
    assert [(one["precision"], one["texts"]) for one in facts] == [("float32", 3), ("bfloat16", 3)]
    out = run(capsys, *arguments).out
    assert " here in float32: " in out
    assert " here in bfloat16: " in out
    refused = run(capsys, "bench", folders["sentences"], "-", *several)
    assert refused.status == 2
    assert "standard input can be read once: give a FILE, or one --model-precision" in refused.err


def test_a_classifier_on_frozen_embeddings(
    capsys: pytest.CaptureFixture[str], folders: dict[str, Path], tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("text,label\n" + "".join(f"{text},{i % 2}\n" for i, text in enumerate(["the city", "wine"] * 6)))
    arguments = ("train", "frozen", table, "-s", folders["sentences"], "--decay", "1", "--held-out", table)
    made = run(capsys, *arguments, "-o", tmp_path / "int8", "--model-precision", "int8")
    assert made.status == 0, made.err
    last = made.out.splitlines()[-1]
    assert last.endswith(f"try: minidistil classify FILE -m {tmp_path / 'int8'} --model-precision int8")
    assert run(capsys, *arguments, "-o", tmp_path / "float32").status == 0
    heads = [(tmp_path / name / "3_Classifier" / "model.safetensors").read_bytes() for name in ("int8", "float32")]
    assert heads[0] != heads[1], "the regression is on the embeddings that int8 makes"


@pytest.mark.parametrize("kept", [False, True])
def test_a_checkpoint_in_int8_is_run_and_shown_as_such(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, kept: bool
) -> None:
    """Also one of which some columns are float32: its parameters are counted once."""
    made = quantized.in_int8(quantized.source(tmp_path / "source", DISTILBERT_SMALL))
    folder = quantized.write(tmp_path, DISTILBERT_SMALL, quantized.keeping(made) if kept else made)
    facts, source = (json.loads(run(capsys, "inspect", at, "--json").out) for at in (folder, tmp_path / "source"))
    assert (facts["precision"], source["precision"]) == ("int8", "float32")
    assert facts["parameters"] == source["parameters"]
    assert facts["stored_as"] == ["F32", "I8"]
    assert 0.25 < facts["stored_bytes"] / facts["float32_bytes"] < 0.3
    assert "computed in   int8, unless asked for another precision\n" in run(capsys, "inspect", folder).out
    assert minidistil.load(folder, backend="exact").num_parameters() == facts["parameters"]
    stages = json.loads(run(capsys, "verify", folder, "--json").out)["stages"]
    assert len(stages) == 4
    assert not any(stage["differing"] for stage in stages)
    arguments = ("bench", folder, "--lengths", "4", "--threads", "1", "--json")
    assert json.loads(run(capsys, *arguments).out)["precision"] == "int8"
    assert json.loads(run(capsys, *arguments, "--model-precision", "float32").out)["precision"] == "float32"


def test_every_command_with_a_model_takes_it() -> None:
    takes = {
        name
        for name, one in every_command().items()
        if any("--model-precision" in option.opts for option in one.params)
    }
    assert every_command().keys() - takes <= NOT_HERE.keys()
    assert not takes & NOT_HERE.keys()
    assert takes >= {*COMMANDS, "demo", "bench", "verify", "pack", "train frozen"}


def test_another_precision_is_one_line(capsys: pytest.CaptureFixture[str], folders: dict[str, Path]) -> None:
    result = run(capsys, "classify", "-t", "a", "-m", folders["sentiment"], "--model-precision", "int4")
    assert result.status == 2
    assert "Invalid value for '--model-precision': 'int4' is not one of 'float32', 'bfloat16', 'int8'" in result.err
    assert result.err.count("\n") == 1
