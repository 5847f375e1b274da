"""Where every parameter lies in its block, and which models have a backward pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from minidistil.backends.learning import TASKS, Parameters, check_trainable
from minidistil.weights import open_checkpoint
from minidistil.weights.config import Config
from minidistil.weights.model_weights import PARAMETERS, ModelWeights
from minidistil.weights.read_model import read_model
from tests import heads, synthetic
from tests.learning import small

EVERY = [(family, task) for family in small.FAMILIES for task in TASKS]


@pytest.mark.parametrize(("family", "task"), EVERY)
def test_every_parameter_is_there_once_under_the_name_of_the_table(family, task, tmp_path):
    values = small.config(family, task)
    _, weights = small.model(tmp_path, values)
    parameters = Parameters(weights, task)
    stored = synthetic.tensor_shapes(values)
    unused = {name for name in stored if "pooler" in name and task == "token_classification"}
    assert sorted(shape for _, shape in parameters.places.values()) == sorted(
        shape for name, shape in stored.items() if name not in unused
    )
    for name in parameters:
        module, kind = name.rsplit(".", 1)
        assert kind in PARAMETERS[".".join("{i}" if part.isdigit() else part for part in module.split("."))]
    assert next(iter(parameters)) == "embeddings.word_embeddings.weight"
    assert list(parameters)[-1].startswith(task)


@pytest.mark.parametrize(("family", "task"), EVERY)
def test_blocks_hold_the_weights_each_on_a_line_of_its_own(family, task, tmp_path):
    _, weights = small.model(tmp_path, small.config(family, task))
    parameters = Parameters(weights, task)
    taken = np.zeros(len(parameters.values), bool)
    for name, (at, shape) in parameters.places.items():
        assert parameters.value(name).shape == shape
        assert parameters.value(name).ctypes.data % 64 == 0 == parameters.gradient(name).ctypes.data % 64
        assert np.shares_memory(parameters.value(name), parameters.values)
        assert not taken[at : at + np.prod(shape)].any()
        taken[at : at + np.prod(shape)] = True
    assert not parameters.values[~taken].any()
    for block in (parameters.gradients, parameters.first, parameters.second):
        assert block.shape == parameters.values.shape
        assert not block.any()
    assert np.array_equal(parameters.value("layers.1.lin2.weight"), weights.encoder.layers[1].lin2.weight)
    assert np.array_equal(parameters.value("embeddings.layer_norm.bias"), weights.encoder.embeddings.layer_norm.bias)
    made = parameters.weights()
    assert made.encoder.layers[1].output_layer_norm.eps == weights.encoder.layers[1].output_layer_norm.eps
    parameters.values += 1
    assert np.array_equal(made.encoder.layers[0].q_lin.weight, weights.encoder.layers[0].q_lin.weight + 1)
    parameters.weight_gradients().encoder.layers[1].sa_layer_norm.bias[...] = 3
    assert (parameters.gradient("layers.1.sa_layer_norm.bias") == 3).all()


def test_a_tied_projection_stands_once_and_an_untied_one_by_itself(tmp_path):
    tied = Parameters(small.model(tmp_path / "tied", small.config("Bert", "masked_lm"))[1], "masked_lm")
    assert "masked_lm.vocab_projector.weight" not in tied.places
    assert tied.weights().masked_lm.vocab_projector.weight is tied.weights().encoder.embeddings.word_embeddings
    assert "masked_lm.vocab_projector.bias" in tied.places
    values = small.config("Bert", "masked_lm", tie_word_embeddings=False)
    untied = Parameters(small.model(tmp_path / "untied", values)[1], "masked_lm")
    assert "masked_lm.vocab_projector.weight" in untied.places


def test_a_head_of_one_product_has_no_dense(tmp_path):
    _, weights = small.model(tmp_path, small.config("DistilBert", "sequence_classification"))
    one = replace(weights.sequence_classification, dense=None, activation="linear")
    parameters = Parameters(replace(weights, sequence_classification=one), "sequence_classification")
    assert [name for name in parameters if name.startswith("sequence")] == [
        "sequence_classification.output.weight",
        "sequence_classification.output.bias",
    ]


def test_biases_and_norms_do_not_decay(tmp_path):
    parameters = Parameters(small.model(tmp_path, small.config("Bert", "masked_lm"))[1], "masked_lm")
    still = {
        name.rsplit(".", 2)[1] + "." + name.rsplit(".", 1)[1] for name in parameters if not parameters.decays(name)
    }
    assert still == {
        *(f"{name}.bias" for name in ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2")),
        *(f"{name}.bias" for name in ("vocab_transform", "vocab_projector")),
        *(f"{name}layer_norm.{kind}" for name in ("", "sa_", "output_", "vocab_") for kind in ("weight", "bias")),
    }


def test_an_unknown_parameter_is_refused_with_those_that_there_are(tmp_path):
    parameters = Parameters(small.model(tmp_path, small.config("Bert", "masked_lm"))[1], "masked_lm")
    with pytest.raises(ValueError, match="there are embeddings"):
        parameters.value("pooler.weight")


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("Albert", ("albert has no backward", "projected to the model's width", "share their weights")),
        ("Electra", ("electra has no backward", "projected")),
        ("MobileBert", ("mobilebert has no backward", "embeddings are MobileBERT's", "MobileLayerWeights")),
    ],
)
def test_other_families_are_refused_by_name_with_those_that_there_are(family, said, tmp_path):
    values = heads.Head(family, "TokenClassification").config()
    checkpoint = open_checkpoint(synthetic.write_checkpoint(tmp_path, values))
    weights = read_model(checkpoint)
    with pytest.raises(ValueError) as refused:
        check_trainable(Config.from_dict(values), weights, "token_classification")
    for words in (*said, "Trained can be distilbert, bert, roberta, xlm-roberta, camembert"):
        assert words in str(refused.value)
    with pytest.raises(ValueError, match=said[1]):
        Parameters(weights, "token_classification")


def test_a_family_of_the_same_layers_is_refused_too(tmp_path):
    values = {**heads.Head("Electra", "TokenClassification").config(), "embedding_size": 128}
    weights = read_model(open_checkpoint(synthetic.write_checkpoint(tmp_path, values)))
    with pytest.raises(ValueError, match="the family electra has no backward pass"):
        check_trainable(Config.from_dict(values), weights, "token_classification")


def test_activations_without_a_backward_pass_are_refused_by_name(tmp_path):
    config, weights = small.model(tmp_path, small.config("Bert", "masked_lm", hidden_act="mish"))
    with pytest.raises(ValueError) as refused:
        check_trainable(config, weights, "masked_lm")
    assert "the feed-forward's activation 'mish' has no backward pass; gelu, relu" in str(refused.value)
    assert "the head's activation 'mish'" in str(refused.value)


def test_a_head_that_is_not_there_and_a_task_that_does_not_exist(tmp_path):
    config, weights = small.model(tmp_path, small.config("Bert", "masked_lm"))
    check_trainable(config, weights, "masked_lm")
    with pytest.raises(ValueError, match="no token_classification head: read them with it, or make a new one"):
        check_trainable(config, weights, "token_classification")
    with pytest.raises(ValueError, match="no task 'question_answering'; there are masked_lm"):
        Parameters(ModelWeights(weights.encoder), "question_answering")
