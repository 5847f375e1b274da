"""Students of a teacher's layers, new heads, new models."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minidistil
from minidistil.tokenization import Tokenizer
from minidistil.training.student import (
    NewModel,
    make_student,
    new_head,
    new_model,
    random_numbers,
    refuse_another_vocabulary,
)
from minidistil.training.writing import write_checkpoint
from minidistil.weights.named import named
from tests import synthetic
from tests.training.models import BERT, HEADS, LABELS, TASKS, config_of, read, write


def _teacher(folder: Path, name: str = "BertForMaskedLM"):
    return read(write(folder / "teacher", name))


@pytest.mark.parametrize("name", ["DistilBertForMaskedLM", "BertForMaskedLM", "RobertaForMaskedLM"])
def test_all_layers_make_the_teacher(tmp_path: Path, name: str) -> None:
    """With every layer and the teacher's head the student says what the teacher does."""
    config, weights = _teacher(tmp_path, name)
    student = make_student(NewModel(config, weights), 4)
    folder = write_checkpoint(tmp_path / "student", *student)
    ids = np.arange(5, 25)[None]
    loaded = [
        minidistil.AutoModelForMaskedLM.from_pretrained(x, backend="exact") for x in (tmp_path / "teacher", folder)
    ]
    own, theirs = (model(ids).logits for model in loaded)
    np.testing.assert_allclose(own, theirs, rtol=1e-4, atol=1e-4)  # BERT adds its three embeddings in another order
    if name.startswith(("Distil", "Roberta")):
        np.testing.assert_array_equal(own.view(np.uint32), theirs.view(np.uint32))


def test_every_second_layer(tmp_path: Path) -> None:
    config, weights = _teacher(tmp_path)
    student = make_student(NewModel(config, weights))
    theirs, own = named(weights), named(student.weights)
    assert student.config.model_type == "distilbert"
    assert student.config.architectures == ("DistilBertForMaskedLM",)
    for i, layer in enumerate((0, 2)):
        for kind in ("q_lin.weight", "lin2.bias", "output_layer_norm.weight"):
            assert own[f"layers.{i}.{kind}"] is theirs[f"layers.{layer}.{kind}"]
    assert len(student.weights.encoder.layers) == 2
    types = theirs["embeddings.token_type_embeddings.weight"]
    positions = theirs["embeddings.position_embeddings.weight"] + types[0]
    np.testing.assert_array_equal(own["embeddings.position_embeddings.weight"], positions)
    assert "embeddings.token_type_embeddings.weight" not in own
    assert student.weights.masked_lm.vocab_projector.weight is student.weights.encoder.embeddings.word_embeddings


@pytest.mark.parametrize(("layers", "expected"), [(1, [0]), (2, [0, 2]), (3, [0, 1, 2]), ([3, 1], [3, 1]), ((0,), [0])])
def test_which_layers(tmp_path: Path, layers, expected) -> None:
    config, weights = _teacher(tmp_path)
    student = make_student(NewModel(config, weights), layers)
    chosen = [layer.q_lin.weight for layer in student.weights.encoder.layers]
    for own, i in zip(chosen, expected, strict=True):
        assert own is weights.encoder.layers[i].q_lin.weight


@pytest.mark.parametrize("layers", [5, 0, -1, [0, 4], [-1], []])
def test_layers_that_are_not_there(tmp_path: Path, layers) -> None:
    config, weights = _teacher(tmp_path)
    with pytest.raises(ValueError, match=r"the teacher has (4 layers|layers 0 to 3)"):
        make_student(NewModel(config, weights), layers)


def test_the_wrong_family(tmp_path: Path) -> None:
    synthetic.write_checkpoint(tmp_path, synthetic.ELECTRA_SMALL)
    with pytest.raises(ValueError, match=r"students are made of distilbert, bert, .*; this teacher is of electra"):
        make_student(tmp_path)
    with pytest.raises(ValueError, match=r"models are made of distilbert, bert, .*, not of electra"):
        new_model(synthetic.ELECTRA_SMALL, "masked_lm")


def test_heads_of_the_teacher(tmp_path: Path) -> None:
    """A classifier is taken from a teacher of the student's family; BERT's is another one than DistilBERT's."""
    theirs = read(write(tmp_path / "same", "DistilBertForSequenceClassification"))[1].sequence_classification
    own = make_student(tmp_path / "same")
    assert own.config.architectures == ("DistilBertForSequenceClassification",)
    assert tuple(own.config.id2label.values()) == LABELS
    np.testing.assert_array_equal(own.weights.sequence_classification.output.weight, theirs.output.weight)
    write(tmp_path / "bert", "BertForSequenceClassification")
    assert make_student(tmp_path / "bert").config.architectures == ("DistilBertModel",)


@pytest.mark.parametrize("name", ["DistilBertForMaskedLM", "BertForSequenceClassification", "RobertaForMaskedLM"])
def test_a_new_head(tmp_path: Path, name: str) -> None:
    """It takes the place of all there were; the encoder is the same."""
    config, weights = _teacher(tmp_path, name)
    made = new_head(config, weights, "sequence_classification", ("no", "yes"), seed=3)
    head = made.weights.sequence_classification
    assert made.config.id2label == {0: "no", 1: "yes"}
    assert (head.output.weight.shape, head.dense.weight.shape) == ((2, 32), (32, 32))
    assert head.activation == ("relu" if name.startswith("Distil") else "tanh")
    assert made.weights.encoder is weights.encoder
    assert made.weights.masked_lm is None
    assert made.config.architectures == (f"{name.partition('For')[0]}ForSequenceClassification",)
    words = new_head(made.config, made.weights, "masked_lm")
    assert words.weights.masked_lm.vocab_projector.weight is weights.encoder.embeddings.word_embeddings
    assert words.weights.masked_lm.activation == "gelu"
    with pytest.raises(ValueError, match="labels must be one or more, each once; got a, a"):
        new_head(config, weights, "token_classification", ("a", "a"))
    with pytest.raises(ValueError, match="labels must be one or more, each once; got none"):
        new_head(config, weights, "token_classification")


def test_distilberts_epsilon(tmp_path: Path) -> None:
    """A teacher with another has LayerNorms that a DistilBERT's checkpoint could not say."""
    synthetic.write_checkpoint(tmp_path, {**BERT, "architectures": ["BertForMaskedLM"], "layer_norm_eps": 1e-5})
    student = make_student(tmp_path)
    assert student.weights.encoder.layers[0].sa_layer_norm.eps == 1e-12
    assert student.weights.encoder.embeddings.layer_norm.eps == 1e-12
    assert student.weights.masked_lm.vocab_layer_norm.eps == 1e-12


@pytest.mark.parametrize("name", HEADS)
def test_a_new_model(tmp_path: Path, name: str) -> None:
    """Every parameter is there, in its shape; the seed makes it, and nothing else."""
    values = config_of(name)
    task = TASKS["For" + name.partition("For")[2]]
    labels = () if task == "masked_lm" else LABELS
    made = [new_model(values, task, labels, seed) for seed in (7, 7, 8)]
    one, same, other = ({n: x.tobytes() for n, x in named(m.weights).items()} for m in made)
    assert one == same
    assert [n for n in one if n.endswith("lin.weight") and one[n] == other[n]] == []
    folder = write_checkpoint(tmp_path, *made[0])
    assert read(folder)[0].architectures == (name,)
    weights = made[0].weights.encoder
    assert weights.embeddings.word_embeddings.std() == pytest.approx(0.02, rel=0.05)
    np.testing.assert_array_equal(weights.layers[0].sa_layer_norm.weight, 1)
    np.testing.assert_array_equal(weights.layers[0].lin1.bias, 0)


def test_random_numbers_are_the_same_everywhere() -> None:
    """Made of Philox's raw words (the digest was recorded with NumPy 2.4); symmetrical, and as wide as asked for."""
    numbers = random_numbers((64, 100), 5, "layers.0.q_lin.weight")
    assert hashlib.sha256(numbers.tobytes()).hexdigest()[:16] == "46ba4f9b660a800a"
    assert np.abs(numbers).max() < np.float32(0.02 * 3**0.5)
    assert numbers.std() == pytest.approx(0.02, rel=0.02)
    assert abs(numbers.mean()) < 0.001
    assert not np.array_equal(numbers, random_numbers((64, 100), 5, "layers.1.q_lin.weight"))


def test_another_vocabulary(tmp_path: Path) -> None:
    one = Tokenizer.from_pretrained(write(tmp_path / "one", "BertForMaskedLM"))
    refuse_another_vocabulary(one, Tokenizer.from_pretrained(write(tmp_path / "same", "DistilBertForMaskedLM")))
    folder = write(tmp_path / "other", "DistilBertForMaskedLM")
    lines = (folder / "vocab.txt").read_text().split("\n")
    lines[10], lines[11] = lines[11], lines[10]
    (folder / "vocab.txt").write_text("\n".join(lines))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"2 differ, such as 10 \('f', 'g'\), 11 \('g', 'f'\)"):
        refuse_another_vocabulary(one, Tokenizer.from_pretrained(folder))
    (folder / "vocab.txt").write_text("\n".join(lines[:300]))
    with pytest.raises(ValueError, match="other tokens: 320 and 300 of them"):
        refuse_another_vocabulary(one, Tokenizer.from_pretrained(folder))


def test_replaced_weights_are_the_teachers_own(tmp_path: Path) -> None:
    """Nothing is copied that need not be, and nothing of the teacher is changed."""
    config, weights = _teacher(tmp_path)
    before = {n: x.tobytes() for n, x in named(weights).items()}
    student = make_student(NewModel(config, weights))
    write_checkpoint(tmp_path / "out", student.config, replace(student.weights, pooler=None))
    assert {n: x.tobytes() for n, x in named(weights).items()} == before
