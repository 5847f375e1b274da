"""Weights in fewer bits than float32: a teacher may have them; what is trained, or written from memory, may not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import minidistil
from minidistil.backends.choose import create_learner
from minidistil.backends.learning import Chances
from minidistil.models.inputs import pack_sentences
from minidistil.training.student import NewModel, make_student, new_head
from minidistil.training.teacher import Teacher
from minidistil.training.writing import write_checkpoint
from minidistil.weights.precision import Precision, in_precision
from tests.bits import assert_same_bits
from tests.training.models import TASKS, read, write

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
