"""config.json, read and checked."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import pytest

from minidistil.weights import ACTIVATIONS, CheckpointError
from minidistil.weights.config import Config
from tests.synthetic import BERT_SMALL, DISTILBERT_BASE
from tests.weights import files


def test_distilbert() -> None:
    config = Config.from_dict({**DISTILBERT_BASE, "layer_norm_eps": 1e-5})
    assert (config.vocab_size, config.max_position_embeddings, config.type_vocab_size) == (30522, 512, 0)
    assert (config.n_layers, config.n_heads, config.dim, config.hidden_dim) == (6, 12, 768, 3072)
    assert (config.num_hidden_layers, config.num_attention_heads, config.hidden_size) == (6, 12, 768)
    assert (config.intermediate_size, config.hidden_act, config.head_dim) == (3072, "gelu", 64)
    assert config.layer_norm_eps == 1e-12, "never read for DistilBERT"
    assert config.tie_word_embeddings is True
    assert config.architectures == ("DistilBertForMaskedLM",)
    assert config.raw["layer_norm_eps"] == 1e-5


def test_bert() -> None:
    config = Config.from_dict({**BERT_SMALL, "layer_norm_eps": 1e-5, "hidden_act": "relu"})
    assert (config.n_layers, config.n_heads, config.dim, config.hidden_dim) == (2, 4, 128, 400)
    assert (config.type_vocab_size, config.layer_norm_eps, config.activation) == (2, 1e-5, "relu")


def test_aliases() -> None:
    raw = {"model_type": "distilbert", "vocab_size": 9, "max_position_embeddings": 5}
    config = Config.from_dict(
        {**raw, "hidden_size": 6, "num_attention_heads": 3, "num_hidden_layers": 1, "hidden_dim": 7}
    )
    assert (config.dim, config.n_heads, config.n_layers) == (6, 3, 1)


class TestLabels:
    @pytest.mark.parametrize(
        ("values", "labels"),
        [
            ({}, {0: "LABEL_0", 1: "LABEL_1"}),
            ({"num_labels": 3}, {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}),
            ({"id2label": {"1": "POSITIVE", "0": "NEGATIVE"}}, {0: "NEGATIVE", 1: "POSITIVE"}),
            ({"id2label": {str(i): f"L{i}" for i in range(12)}, "num_labels": 2}, {i: f"L{i}" for i in range(12)}),
            ({"id2label": {"0": 3, "1": 2.5, "2": True}}, {0: "3", 1: "2.5", 2: "True"}),
            ({"id2label": {"3": "b", "0": "a"}}, {0: "a", 3: "b"}),
        ],
    )
    def test_read(self, values: dict, labels: dict) -> None:
        config = Config.from_dict({**DISTILBERT_BASE, **values})
        assert list(config.id2label.items()) == list(labels.items())
        assert config.label2id == {label: number for number, label in labels.items()}
        assert config.num_labels == len(labels)

    @pytest.mark.parametrize(
        "values",
        [
            {"id2label": ["a", "b"]}, {"id2label": {"x": "a"}}, {"id2label": {"0": "a", "-1": "b"}},
            {"id2label": {"0": None}}, {"num_labels": 0}, {"num_labels": 10**12}, {"num_labels": "2"},
        ],
    )  # fmt: skip
    def test_refused(self, values: dict) -> None:
        with pytest.raises(CheckpointError, match=r"id2label|num_labels"):
            Config.from_dict({**DISTILBERT_BASE, **values})


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_known_activations(activation: str) -> None:
    assert Config.from_dict({**DISTILBERT_BASE, "activation": activation}).activation == activation


def test_all_faults_at_once() -> None:
    raw = {"model_type": "bert", "hidden_size": 10, "num_attention_heads": 4, "hidden_act": "gelo", "problem_type": "x"}
    with pytest.raises(CheckpointError) as error:
        Config.from_dict({**raw, "architectures": "BertModel"}, where="there")
    text = str(error.value)
    assert text.startswith("there: 8 faults")
    for key in ("vocab_size", "max_position_embeddings", "num_hidden_layers", "intermediate_size"):
        assert f"config.json lacks {key}" in text
    assert "num_attention_heads = 4 does not divide hidden_size = 10" in text
    assert f"known are {', '.join(ACTIVATIONS)}" in text
    assert "problem_type = 'x'; known are regression, single_label_classification" in text
    assert "architectures is no list of names" in text


def test_from_pretrained(tmp_path: Path, minilm: Path) -> None:
    assert Config.from_pretrained(files.write_model(tmp_path, files.BERT)).layer_norm_eps == 1e-5
    assert Config.from_pretrained(minilm).head_dim == 32
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json: is missing"):
        Config.from_pretrained(tmp_path)


def test_is_immutable_and_travels() -> None:
    config = Config.from_dict(DISTILBERT_BASE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.dim = 5  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(config)) == config
    assert dataclasses.replace(config, n_layers=2).n_layers == 2
