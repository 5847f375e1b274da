"""A task refuses a checkpoint without its head, and one whose head is another task's, and says what it is good for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import minidistil
from minidistil.models.purpose import good_for
from minidistil.weights import CheckpointError, open_checkpoint
from minidistil.weights.model_weights import ModelWeights
from minidistil.weights.read_model import HEADS as FIELDS
from minidistil.weights.read_model import heads_of, read_model
from tests.cli.support import run
from tests.heads import HEADS
from tests.pipelines.checkpoints import write_small

SENTENCES = "sentence embeddings, load(...).encode"
GOOD_FOR = {  # checkpoint -> the tasks that take it, and what the others say of it
    "sentiment": ({"text-classification", "zero-shot-classification"}, 'pipeline("text-classification")'),
    "entailment": (
        {"text-classification", "zero-shot-classification"},
        'pipeline("text-classification"), pipeline("zero-shot-classification")',
    ),
    "single": ({"text-classification"}, 'pipeline("text-classification"), scores of pairs, CrossEncoder(...)'),
    "entities": ({"token-classification"}, 'pipeline("token-classification")'),
    "entities-bert": ({"token-classification"}, 'pipeline("token-classification")'),
    "topics-electra": ({"text-classification", "zero-shot-classification"}, 'pipeline("text-classification")'),
    "questions": ({"question-answering"}, 'pipeline("question-answering")'),
    "encoder": (set(), SENTENCES),
}
COMMANDS = {
    "text-classification": ["classify", "-t", "a"],
    "token-classification": ["ner", "-t", "a"],
    "question-answering": ["qa", "who ?", "example:amendments"],
    "zero-shot-classification": ["zero-shot", "-t", "a", "-l", "b"],
    "fill-mask": ["fill-mask", "a [MASK]"],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {name: write_small(folder, name) for name in GOOD_FOR}


@pytest.mark.filterwarnings("error::UserWarning", "ignore:none of the labels")
@pytest.mark.parametrize("task", COMMANDS)
@pytest.mark.parametrize("name", GOOD_FOR)
def test_a_task_takes_its_own_models_alone(folders: dict[str, Path], name: str, task: str) -> None:
    tasks, use = GOOD_FOR[name]
    if task in tasks:
        assert minidistil.pipeline(task, model=folders[name], backend="blas").task == task
    elif (name, task) != ("single", "zero-shot-classification"):  # refused for its one label
        with pytest.raises(CheckpointError) as caught:
            minidistil.pipeline(task, model=folders[name], backend="blas")
        said = f'this is no model for pipeline("{task}"); it is one for {use}'
        assert str(caught.value) == f"{folders[name]}: {said}"


@pytest.mark.parametrize("name", ["entities", "questions", "encoder"])
def test_a_cross_encoder_too(folders: dict[str, Path], name: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        minidistil.CrossEncoder(folders[name], backend="blas")
    assert str(caught.value).endswith(f"no model for CrossEncoder(...); it is one for {GOOD_FOR[name][1]}")


def test_commands_name_commands(capsys: pytest.CaptureFixture[str], folders: dict[str, Path]) -> None:
    quick = ("--backend", "blas")
    result = run(capsys, *COMMANDS["token-classification"], "-m", folders["sentiment"], *quick)
    said = "this is no model for `minidistil ner`; it is one for `minidistil classify`"
    assert result == (2, "", f"minidistil: {folders['sentiment']}: {said}\n")
    result = run(capsys, "rerank", "q", "example:amendments", "-m", folders["encoder"], *quick)
    said = "no model for `minidistil rerank`; it is one for sentence embeddings, `minidistil embed` and"
    assert said in result.err
    for command in COMMANDS.values():
        err = run(capsys, *command, "-m", folders["encoder"], *quick).err
        assert f"no model for `minidistil {command[0]}`; it is one for sentence embeddings" in err


def test_sentence_encoders_are_no_rerankers(sentence_small: Path) -> None:
    with pytest.raises(CheckpointError, match=r"found Transformer, Pooling, Normalize; this is a model for sentence"):
        minidistil.CrossEncoder(sentence_small)


def test_a_loaded_model_of_another_task(folders: dict[str, Path]) -> None:
    model = minidistil.load(folders["questions"], backend="blas")
    with pytest.raises(TypeError, match=r'AutoModelForMaskedLM; this one is for pipeline\("question-answering"\)'):
        minidistil.pipeline("fill-mask", model=model)


def test_without_architectures_each_head_is_possible(tmp_path: Path, folders: dict[str, Path]) -> None:
    folder = shutil.copytree(folders["entities"], tmp_path / "anonymous")
    config = json.loads((folder / "config.json").read_text())
    del config["architectures"]
    (folder / "config.json").write_text(json.dumps(config))
    assert minidistil.pipeline("ner", model=folder, backend="blas")("the city of light")
    assert heads_of(open_checkpoint(folder)) == ["sequence_classification", "token_classification", "multiple_choice"]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.key)
def test_every_head_is_found_and_good_for_something(tmp_path: Path, head: object) -> None:
    checkpoint = open_checkpoint(head.write(tmp_path))  # type: ignore[attr-defined]
    weights: ModelWeights = read_model(checkpoint)
    there = [field for field in FIELDS[1:] if getattr(weights, field) is not None]
    assert heads_of(checkpoint) == there
    assert SENTENCES not in good_for(there)
    assert good_for(()) == SENTENCES


def test_faults_are_all_there_whatever_was_asked_for(tmp_path: Path, folders: dict[str, Path]) -> None:
    folder = shutil.copytree(folders["entities"], tmp_path / "broken")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dim": -1, "activation": "steps"}))
    with pytest.raises(CheckpointError) as caught:
        minidistil.pipeline("text-classification", model=folder)
    with pytest.raises(CheckpointError) as loading:
        minidistil.AutoModelForSequenceClassification.from_pretrained(folder)
    assert caught.value.faults == loading.value.faults
    assert len(caught.value.faults) == 2
