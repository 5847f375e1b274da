"""Names of models and files: words for well-known models, the package's own texts, and what a shell completes."""

from __future__ import annotations

import re

import pytest

from minidistil.cli.kinds import MODEL, MODELS
from minidistil.records.lines import examples, read_lines
from tests.cli.support import ROOT, every_command, run, run_process

DOCUMENT = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


def test_a_word_stands_for_the_model_that_the_document_says() -> None:
    assert dict(re.findall(r"^\| `-m ([a-z-]+)` \| `([^`]+)`", DOCUMENT, re.MULTILINE)) == MODELS
    assert {word: MODEL.convert(word, None, None) for word in MODELS} == MODELS
    assert MODEL.convert("sentiments", None, None) == "sentiments"


def test_a_checkpoint_of_that_name_goes_before(monkeypatch, tmp_path, distilbert_small) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qa").mkdir()
    assert MODEL.convert("qa", None, None) == MODELS["qa"]  # a folder of other things
    (tmp_path / "ner").symlink_to(distilbert_small)
    assert MODEL.convert("ner", None, None) == "ner"


def test_a_word_out_of_reach_is_an_error_that_names_the_model(tmp_path) -> None:
    result = run_process("classify", "-t", "a", "-m", "sentiment", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert result.status == 2
    assert result.err.startswith(f"minidistil: {MODELS['sentiment']}: is not in the Hugging Face cache {tmp_path}")
    assert result.err.endswith("HF_HUB_OFFLINE forbids to download it\n")


def test_words_for_commands_whose_argument_is_a_checkpoint(offline) -> None:
    result = run_process("inspect", "qa", **offline)
    assert result.status == 0, result.err
    assert "question_answering" in result.out


def test_the_texts_of_the_package(capsys) -> None:
    names = ("amendments", "names", "opinions", "reviews", "travellers")
    assert examples() == [f"example:{name}" for name in names]
    link = ROOT / "docs" / "examples" / "amendments.txt"
    assert list(read_lines("example:amendments", "utf-8")) == list(read_lines(str(link), "utf-8"))
    for name in examples():
        assert len(list(read_lines(name, "utf-8"))) >= 5
    err = run(capsys, "search", "a", "example:sonnets").err
    assert err == f"minidistil: there is no example:sonnets; there are {', '.join(examples())}\n"


COMPLETED = {
    "a command": ("minidistil cl", 1, ["plain,classify"]),
    "an option": ("minidistil search --fu", 2, ["plain,--full"]),
    "a value": ("minidistil embed --precision u", 3, ["plain,uint8", "plain,ubinary"]),
    "a model": ("minidistil classify -m sen", 3, ["file,sen", "plain,sentiment"]),
    "a checkpoint": ("minidistil verify fi", 2, ["file,fi", "plain,fill-mask"]),
    "a text": ("minidistil ner ex", 2, ["file,ex", *(f"plain,{name}" for name in examples())]),
    "one text more": ("minidistil search q a.txt ./b", 4, ["file,./b"]),
    "a table": ("minidistil qa --pairs ./p", 3, ["file,./p"]),
}


@pytest.mark.parametrize("case", COMPLETED)
def test_a_shell_gets_what_may_follow(case) -> None:
    line, word, expected = COMPLETED[case]
    asked = {"COMP_WORDS": line.replace(" ", "\n"), "COMP_CWORD": str(word), "_MINIDISTIL_COMPLETE": "bash_complete"}
    result = run_process(**asked)
    assert result.status == 0, result.err
    assert result.out.splitlines() == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_the_command_itself(capsys, shell) -> None:
    result = run(capsys, "completion", shell)
    assert result.status == 0
    assert f"_MINIDISTIL_COMPLETE={shell}_complete" in result.out
    assert run(capsys, "completion", "tcsh").status == 2


def test_every_argument_that_is_a_file_or_a_model_can_be_completed() -> None:
    named = {"file", "files", "model", "checkpoint", "pairs", "data", "held_out", "start", "teacher"}
    found = [p for command in every_command().values() for p in command.params if p.name in named]
    assert len(found) > 15
    assert [p for p in found if type(p.type).__name__ not in ("_ModelName", "_TextFile")] == []
