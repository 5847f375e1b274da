"""What configurations in the wild say that the first checkpoints of a family do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil.weights import CheckpointError, open_checkpoint, read_model
from tests.bits import assert_same_bits
from tests.heads import Head
from tests.synthetic import BERT_SMALL, DISTILBERT_SMALL, ROBERTA_SMALL, write_checkpoint

CHOICE = Head("Electra", "MultipleChoice")
CLASSES = {**BERT_SMALL, "architectures": ["BertForSequenceClassification"]}
IDS = np.random.default_rng(3).integers(3, 1200, (2, 9))


def change(folder: Path, **values: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return folder


@pytest.mark.parametrize("kind", ["last", "mean", "cls_index", "attn"])
def test_summaries_of_what_depends_on_padding_are_refused_where_they_are_used(tmp_path: Path, kind: str) -> None:
    folder = CHOICE.write(tmp_path, summary_type=kind)
    fault = f"config.json: summary_type = {kind} is not supported; expected first"
    with pytest.raises(CheckpointError, match=fault):
        minidistil.AutoModelForMultipleChoice.from_pretrained(folder, backend="blas")
    with pytest.raises(CheckpointError, match=fault):
        minidistil.load(folder, backend="blas")
    assert minidistil.AutoModel.from_pretrained(folder, backend="blas").config.dim == 128


def test_summary_of_nothing(tmp_path: Path) -> None:
    """null in the place of an activation is none, and of a product is none; an unknown one is refused."""
    weights = read_model(open_checkpoint(CHOICE.write(tmp_path / "a", summary_activation=None)))
    assert weights.multiple_choice is not None
    assert (weights.multiple_choice.dense is not None, weights.multiple_choice.activation) == (True, "linear")
    weights = read_model(open_checkpoint(CHOICE.write(tmp_path / "b", summary_use_proj=False)))
    assert weights.multiple_choice is not None
    assert (weights.multiple_choice.dense, weights.multiple_choice.activation) == (None, "gelu")
    with pytest.raises(CheckpointError, match=r"summary_activation = gelo is not supported; expected gelu, gelu_new, "):
        read_model(open_checkpoint(CHOICE.write(tmp_path / "c", summary_activation="gelo")))


def test_gelu_python_is_gelu(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, {**DISTILBERT_SMALL, "activation": "gelu_python"})
    model = minidistil.AutoModel.from_pretrained(folder, threads=1)
    want = minidistil.AutoModel.from_pretrained(change(folder, activation="gelu"), threads=1)
    assert model.config.activation == "gelu"
    assert_same_bits(model(IDS)[0], want(IDS)[0])
    with pytest.raises(CheckpointError, match=r"activation = laplace is unknown; known are gelu, .*leaky_relu"):
        minidistil.AutoModel.from_pretrained(change(folder, activation="laplace"), threads=1)


def test_labels_with_gaps_refuse_only_heads_that_need_them(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, {**CLASSES, "id2label": {"0": "a", "2": "b"}})
    model = minidistil.AutoModel.from_pretrained(folder, backend="blas")
    assert (dict(model.config.id2label), model.config.num_labels) == ({0: "a", 2: "b"}, 2)
    with pytest.raises(CheckpointError, match="id2label must number its 2 labels from 0 to 1; it lacks 1"):
        minidistil.load(folder, backend="blas")


def test_labels_that_are_numbers(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, {**CLASSES, "id2label": {"0": 0, "1": 1}})
    assert dict(minidistil.load(folder, backend="blas").config.id2label) == {0: "0", 1: "1"}


@pytest.mark.parametrize("config", [BERT_SMALL, DISTILBERT_SMALL])
def test_a_padding_id_of_minus_one_says_nothing(config: dict, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, config)
    want = minidistil.AutoModel.from_pretrained(folder, threads=1)(IDS)[0]
    assert_same_bits(minidistil.AutoModel.from_pretrained(change(folder, pad_token_id=-1), threads=1)(IDS)[0], want)


def test_positions_after_a_padding_id_of_minus_one(tmp_path: Path) -> None:
    """They count from 0, and every id counts, 1 too."""
    folder = write_checkpoint(tmp_path, {**ROBERTA_SMALL, "pad_token_id": -1})
    model = minidistil.AutoModel.from_pretrained(folder, threads=1)
    ids = np.array([[5, 1, 7]])
    assert_same_bits(model(ids)[0], model(ids, position_ids=[[0, 1, 2]])[0])
    assert model.config.longest_sentence == model.config.max_position_embeddings
