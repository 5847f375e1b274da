"""Weights in fewer bits than float32: a teacher may have them; what is trained has float32, also where it began so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil.backends.choose import create_learner
from minidistil.backends.learning import Chances
from minidistil.models.inputs import pack_sentences
from minidistil.tokenization import Tokenizer
from minidistil.training import distill, fine_tune, train_masked_lm
from minidistil.training.journal import read_log
from minidistil.training.student import NewModel, make_student, new_head
from minidistil.training.teacher import Teacher
from minidistil.training.vocabulary import cut_vocabulary
from minidistil.training.writing import write_checkpoint
from minidistil.weights.conversion import in_precision
from minidistil.weights.precision import Precision
from minidistil.weights.writing import write_quantized
from tests.bits import assert_same_bits
from tests.training.models import TASKS, read, write

TEXTS = ["rain and snow", "the music of paris", "wine", "a cold night"] * 2
LABELLED = [(text, ("bad", "good", "odd")[i % 3]) for i, text in enumerate(TEXTS)]
QUICK: dict[str, Any] = {"backend": "exact", "batch_sentences": 4, "max_length": 12, "epochs": 1}
each_narrow = pytest.mark.parametrize("precision", ["bfloat16", "int8"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "model", "BertForSequenceClassification")


@each_narrow
@pytest.mark.parametrize("backend", ["engine", "exact"])
def test_nothing_is_learned_in_fewer_bits(folder: Path, precision: Precision, backend: str) -> None:
    config, weights = read(folder)
    chances, task = Chances(), "sequence_classification"
    learner = create_learner(backend, config, weights, task, chances, 1)
    assert len(learner.parameters) > 10
    with pytest.raises(ValueError) as refused:
        create_learner(backend, config, in_precision(weights, precision), task, chances, 1)
    assert f'the weights are {precision}: load the model with precision="float32"' in str(refused.value)


@each_narrow
def test_no_student_is_made_of_its_layers_and_no_checkpoint_written(
    folder: Path, tmp_path: Path, precision: Precision
) -> None:
    config, weights = read(folder)
    narrow = in_precision(weights, precision)
    said = f"has {precision} weights, and .* needs float32: take the checkpoint that they were made of"
    with pytest.raises(ValueError, match=f"^this teacher {said}"):
        make_student(NewModel(config, narrow))
    with pytest.raises(ValueError, match=f"^this model {said}"):
        write_checkpoint(tmp_path / "out", config, narrow)
    headed = new_head(config, narrow, "token_classification", ("a", "b"))
    with pytest.raises(ValueError, match=f"^this model {said}"):
        write_checkpoint(tmp_path / "out", *headed)
    assert not (tmp_path / "out").exists()
    assert write_checkpoint(tmp_path / "out", config, in_precision(weights, "float32")).is_dir()


@each_narrow
@pytest.mark.parametrize("ending", TASKS)
def test_a_narrow_teacher_says_what_the_model_says(tmp_path: Path, precision: Precision, ending: str) -> None:
    folder = write(tmp_path / "model", f"DistilBert{ending}")
    config, weights = read(folder)
    ids = np.arange(5, 25)
    batch = pack_sentences(config, [ids[:13], ids[13:]])
    rows = np.array([0, 13]) if ending == "ForSequenceClassification" else np.arange(20)
    said = {}
    for chosen in (precision, "float32"):
        teacher = Teacher(config, in_precision(weights, chosen), TASKS[ending], backend="exact")
        said[chosen] = teacher.logits(batch, rows)
    model = minidistil.load(folder, backend="exact", precision=precision)
    logits = [model(part[None]).logits[0] for part in (ids[:13], ids[13:])]
    assert_same_bits(said[precision], np.stack(logits) if len(rows) == 2 else np.concatenate(logits))
    assert np.any(said[precision] != said["float32"])


def _in_int8(folder: Path) -> Path:
    """The same checkpoint, written in int8 beside it."""
    config, weights = read(folder)
    others = {path.name: path for path in folder.iterdir() if path.name not in ("config.json", "model.safetensors")}
    return write_quantized(folder.with_name(f"{folder.name}-int8"), config, in_precision(weights, "int8"), others)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A teacher and a student, and both in int8."""
    root = tmp_path_factory.mktemp("models")
    made = {name: write(root / name, "BertForSequenceClassification", seed) for seed, name in enumerate(["one", "two"])}
    return {**made, **{f"{name}-int8": _in_int8(folder) for name, folder in made.items()}}


def test_a_checkpoint_in_int8_is_a_start_in_float32(models: dict[str, Path], tmp_path: Path) -> None:
    """Training begins with the numbers that its weights stand for, as from a checkpoint of these."""
    config, weights = read(models["two-int8"])
    tokenizer = Tokenizer.from_pretrained(models["two"])
    whole = write_checkpoint(tmp_path / "whole", config, in_precision(weights, "float32"), tokenizer)
    for train in (
        lambda start, out: fine_tune(LABELLED, start=start, out=out, **QUICK),
        lambda start, out: train_masked_lm(TEXTS, start=start, out=out, **QUICK),
        lambda start, out: distill(TEXTS, start=start, teacher=models["one"], out=out, **QUICK),
    ):
        name = str(len(list(tmp_path.iterdir())))
        made = [train(start, tmp_path / f"{name}-{i}").folder for i, start in enumerate([whole, models["two-int8"]])]
        assert minidistil.load(made[1], backend="exact").precision == "float32"
        one, other = ((folder / "model.safetensors").read_bytes() for folder in made)
        assert one == other


def test_no_layers_are_taken_of_a_checkpoint_in_int8(models: dict[str, Path], tmp_path: Path) -> None:
    start, said = models["one-int8"], "one-int8 has int8 weights, and {} needs float32: take the checkpoint that they"
    out = tmp_path / "out"
    runs = {
        "a student made of its layers": (
            lambda: distill(TEXTS, teacher=start, out=out, **QUICK),
            lambda: distill(TEXTS, teacher=start, layers=[0], out=out, **QUICK),
            lambda: make_student(start),
        ),
        "a smaller vocabulary": (lambda: cut_vocabulary(start, out, TEXTS, 150),),
    }
    for use, calls in runs.items():
        for call in calls:
            with pytest.raises(ValueError) as refused:
                call()
            begin, _, end = said.partition("{}")
            assert f"{begin}{use}" in str(refused.value)
            assert end in str(refused.value)
    assert not out.exists()


def test_a_student_learns_from_a_teacher_in_int8(models: dict[str, Path], tmp_path: Path) -> None:
    losses = {}
    for name in ("one", "one-int8"):
        found = distill(
            TEXTS, teacher=models[name], start=models["two"], out=tmp_path / name, held_out=LABELLED, **QUICK
        )
        assert 0 <= found.figures["agreement"] <= 1
        losses[name] = [(line["soft"], line["cosine"]) for line in read_log(found.log) if "loss" in line]
        assert minidistil.load(tmp_path / name, backend="exact").precision == "float32"
    for name in ("one", "one-int8"):
        asked = distill(
            TEXTS, teacher=models[name], teacher_precision="int8", start=models["two"], out=tmp_path / f"{name} asked",
            held_out=LABELLED, **QUICK,
        )  # fmt: skip
        losses[f"{name} asked"] = [(line["soft"], line["cosine"]) for line in read_log(asked.log) if "loss" in line]
        assert asked.folder.joinpath("model.safetensors").read_bytes() == (
            (tmp_path / "one-int8" / "model.safetensors").read_bytes()
        )
    assert losses["one asked"] == losses["one-int8 asked"] == losses["one-int8"]
    first, narrow = np.array(losses["one"]), np.array(losses["one-int8"])
    assert np.any(first != narrow)
    np.testing.assert_allclose(narrow, first, rtol=0.1)
    again = distill(
        TEXTS, teacher=models["one-int8"], start=models["two"], out=tmp_path / "engine", held_out=LABELLED,
        **{**QUICK, "backend": "engine", "threads": 1},
    )  # fmt: skip
    assert again.folder.joinpath("model.safetensors").read_bytes() == (
        (tmp_path / "one-int8" / "model.safetensors").read_bytes()
    )


def _begun(run: Path) -> dict[str, Any]:
    return json.loads((run / "training" / "run.json").read_text())


def test_layers_are_the_checkpoints_whatever_the_teacher_answers_in(models: dict[str, Path], tmp_path: Path) -> None:
    """And a run that goes on asks for the same precision; one that names none is as it was before there were any."""
    call: dict[str, Any] = {"layers": [0], "learning_rate": 0.0, **QUICK}
    for precision in ("float32", "bfloat16", "int8"):
        made = distill(TEXTS, teacher=models["one"], teacher_precision=precision, out=tmp_path / precision, **call)
        stored = (read(made.folder)[1].encoder, read(models["one"])[1].encoder)
        assert_same_bits(*(encoder.layers[0].lin1.weight for encoder in stored))
        begun = _begun(made.folder)
        assert begun.pop("teacher_precision", "float32") == precision
        assert begun["start"] == _begun(tmp_path / "float32")["start"]
    usual = distill(TEXTS, teacher=models["one"], out=tmp_path / "float32", **call)
    assert usual.resumed == usual.steps
    with pytest.raises(ValueError, match=r'teacher_precision was "int8" and is unset'):
        distill(TEXTS, teacher=models["one"], out=tmp_path / "int8", **call)
    again = distill(TEXTS, teacher=models["one"], teacher_precision="int8", out=tmp_path / "int8", **call)
    assert again.resumed == again.steps
    with pytest.raises(ValueError, match="precision must be one of float32, bfloat16, int8, got 'int4'"):
        distill(TEXTS, teacher=models["one"], teacher_precision="int4", out=tmp_path / "no", **call)  # type: ignore[arg-type]
    assert not (tmp_path / "no").exists()
