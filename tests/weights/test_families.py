"""The families by their tables: names, widths, shared layers, and what is said when something is wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from minidistil.weights import (
    FAMILIES,
    CheckpointError,
    MobileLayerWeights,
    ModelWeights,
    NoNorm,
    Norm,
    open_checkpoint,
    read_model,
)
from minidistil.weights.config import Config
from tests import synthetic
from tests.weights import files

_SMALL = {
    "vocab_size": 23, "max_position_embeddings": 11, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8,
    "intermediate_size": 12,
}  # fmt: skip
_ROBERTA = {**synthetic.ROBERTA_SMALL, **_SMALL}
_GROUPS = {"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2}
CONFIGS = {
    "roberta": _ROBERTA,
    "xlm-roberta": {**_ROBERTA, "model_type": "xlm-roberta", "architectures": ["XLMRobertaForMaskedLM"]},
    "camembert": {**_ROBERTA, "model_type": "camembert", "architectures": ["CamembertForMaskedLM"]},
    "albert": {**synthetic.ALBERT_SMALL, **_SMALL, **_GROUPS, "embedding_size": 6},
    "electra": {**synthetic.ELECTRA_SMALL, **_SMALL, "embedding_size": 6},
    "mobilebert": {**synthetic.MOBILEBERT_SMALL, **_SMALL, "embedding_size": 6, "intra_bottleneck_size": 4},
}  # fmt: skip
Tensors = dict[str, np.ndarray]
each_family = pytest.mark.parametrize("kind", CONFIGS)


def bare(config: dict) -> dict:
    return {**config, "architectures": [config["architectures"][0].removesuffix("ForMaskedLM") + "Model"]}


def read(
    folder: Path, config: dict, arrays: Tensors | None = None, heads: tuple[str, ...] | None = None
) -> ModelWeights:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_model(open_checkpoint(files.write_model(folder, config, arrays)), heads)


def every_array(weights: object) -> list[np.ndarray]:
    if isinstance(weights, np.ndarray):
        return [weights]
    if isinstance(weights, tuple):
        return [x for part in weights for x in every_array(part)]
    if hasattr(weights, "__dataclass_fields__"):
        return [x for f in fields(weights) for x in every_array(getattr(weights, f.name))]
    return []


def contents(weights: object) -> set[bytes]:
    return {x.tobytes() for x in every_array(weights)}


@each_family
def test_every_tensor_is_read_and_nothing_else(tmp_path: Path, kind: str) -> None:
    """Each into some place (which, the goldens tell), and with or without the head and its prefix."""
    arrays = synthetic.tensors(CONFIGS[kind])
    model = read(tmp_path / "head", CONFIGS[kind])
    assert contents(model) == {x.tobytes() for x in arrays.values()}
    assert model.masked_lm is not None
    assert model.masked_lm.vocab_projector.weight is model.encoder.embeddings.word_embeddings
    alone = read(tmp_path / "bare", bare(CONFIGS[kind]))
    assert alone.masked_lm is None
    assert (alone.pooler is None) == (kind == "electra")
    without = read(tmp_path / "without", CONFIGS[kind], heads=())
    assert contents(without.encoder) == contents(model.encoder)
    assert without.masked_lm is None


@each_family
def test_legacy_names_a_stripped_prefix_and_buffers(tmp_path: Path, kind: str) -> None:
    prefix = FAMILIES[kind].prefix
    old = {".weight": ".gamma", ".bias": ".beta"}
    renamed: Tensors = {}
    for name, x in synthetic.tensors(CONFIGS[kind]).items():
        module, dot, parameter = name.removeprefix(prefix).rpartition(".")
        renamed[module + (old[dot + parameter] if module.endswith("LayerNorm") else dot + parameter)] = x
    renamed["embeddings.position_ids"] = np.arange(11)[None]
    model = read(tmp_path / "renamed", CONFIGS[kind], renamed)
    assert contents(model) == contents(read(tmp_path / "usual", CONFIGS[kind]))


@each_family
def test_the_bias_of_the_vocabulary_under_its_other_name(tmp_path: Path, kind: str) -> None:
    """transformers 4 saved `decoder.bias`, 5 saves `bias`; both, where equal, are one."""
    aliases = FAMILIES[kind].aliases.get("masked_lm.vocab_projector.bias")
    if aliases is None:
        assert kind == "electra", "has one name"
        return
    arrays = synthetic.tensors(CONFIGS[kind])
    bias = arrays.pop(aliases[1])
    for names in ((aliases[0],), aliases):
        model = read(tmp_path / str(len(names)), CONFIGS[kind], {**arrays, **dict.fromkeys(names, bias)})
        assert model.masked_lm is not None
        np.testing.assert_array_equal(model.masked_lm.vocab_projector.bias, bias)


@each_family
def test_untied(tmp_path: Path, kind: str) -> None:
    config = {**CONFIGS[kind], "tie_word_embeddings": False}
    model = read(tmp_path / "own", config)
    assert model.masked_lm is not None
    own, words = model.masked_lm.vocab_projector.weight, model.encoder.embeddings.word_embeddings
    assert own.shape == words.shape
    assert not np.array_equal(own, words)
    arrays = {name: x for name, x in synthetic.tensors(config).items() if x.tobytes() != own.tobytes()}
    with pytest.raises(CheckpointError, match=r"missing tensors \(1\): .*(decoder|lm_head)\.weight"):
        read(tmp_path / "none", config, arrays)


@each_family
def test_without_a_pooler(tmp_path: Path, kind: str) -> None:
    config = bare(CONFIGS[kind])
    arrays = {name: x for name, x in synthetic.tensors(config).items() if "pooler" not in name}
    assert read(tmp_path, config, arrays).pooler is None


def test_albert_shares_its_layers(tmp_path: Path) -> None:
    """Which of them, as transformers counts: the group of layer i of L is int(i / (L / groups))."""
    layers = read(tmp_path / "a", CONFIGS["albert"]).encoder.layers
    distinct = list(dict.fromkeys(id(layer) for layer in layers))
    assert [distinct.index(id(layer)) for layer in layers] == [0, 1, 0, 1, 2, 3, 2, 3]
    five = {**CONFIGS["albert"], "num_hidden_layers": 5, "inner_group_num": 1}
    layers = read(tmp_path / "b", five).encoder.layers
    assert [layer is layers[0] for layer in layers] == [True, True, True, False, False]
    assert Config.from_dict(CONFIGS["albert"]).n_layers == 8, "as many as are applied"


def test_the_projection_is_there_where_the_widths_differ(tmp_path: Path) -> None:
    def projection(name: str, config: dict) -> tuple[int, ...] | None:
        found = read(tmp_path / name, config).encoder.embeddings.projection
        return None if found is None else found.weight.shape

    assert projection("a", CONFIGS["electra"]) == (8, 6)
    assert projection("b", {**CONFIGS["electra"], "embedding_size": 8}) is None
    assert projection("c", {**CONFIGS["albert"], "embedding_size": 8}) == (8, 8), "ALBERT always projects"
    assert projection("d", CONFIGS["roberta"]) is None


def test_the_activation_of_the_vocabulary_head(tmp_path: Path) -> None:
    for kind, config in CONFIGS.items():
        head = read(tmp_path / kind, {**config, "hidden_act": "relu"}).masked_lm
        assert head is not None
        assert head.activation == ("relu" if kind in ("albert", "mobilebert") else "gelu")


def without(end: str) -> Callable[[dict, Tensors], None]:
    def change(config: dict, arrays: Tensors) -> None:
        for name in [name for name in arrays if name.endswith(end)]:
            del arrays[name]

    return change


def say(**changes: object) -> Callable[[dict, Tensors], None]:
    return lambda config, arrays: config.update(changes)


def put(name: str, shape: tuple[int, ...]) -> Callable[[dict, Tensors], None]:
    return lambda config, arrays: arrays.update({name: np.ones(shape, np.float32)})


FAULTS: dict[str, tuple[str, Callable[[dict, Tensors], None], list[str]]] = {
    "groups": ("albert", say(num_hidden_groups=3), ["num_hidden_groups = 3 of 2 layers, but the tensors say 4: "]),
    "layers of a group": ("albert", say(inner_group_num=1), ["unexpected tensors (32): albert.encoder.albert_layer"]),
    "endless layers": ("albert", say(num_hidden_layers=2**30), ["num_hidden_layers applies 2147483648 layers, more"]),
    "no groups": ("albert", say(num_hidden_groups=0), ["num_hidden_groups = 0, expected a whole number of at least 1"]),
    "embedding width": ("albert", say(embedding_size=7), ["embedding_size = 7, but the tensors say 6"]),
    "no projection": ("electra", without("project.weight"), ["missing tensors (1): electra.embeddings_project.weight"]),
    "an unused projection": ("electra", say(embedding_size=8), ["embedding_size = 8, but the tensors say 6"]),
    "width": ("roberta", say(hidden_size=10), ["hidden_size = 10, but the tensors say 8"]),
    "head": ("roberta", without("lm_head.dense.bias"), ["missing tensors (1): lm_head.dense.bias"]),
    "a layer": ("camembert", without("1.output.dense.weight"), ["roberta.encoder.layer.1.output.dense.weight"]),
    "bottleneck": (
        "mobilebert", say(intra_bottleneck_size=6), ["intra_bottleneck_size = 6, but the tensors say 4: "],
    ),
    "heads of the bottleneck": (
        "mobilebert", say(intra_bottleneck_size=5),
        ["num_attention_heads = 2 does not divide intra_bottleneck_size = 5"],
    ),
    "heads without a bottleneck": (
        "mobilebert", say(use_bottleneck=False, hidden_size=9),
        ["num_attention_heads = 2 does not divide hidden_size = 9"],
    ),
    "wide queries": (
        "mobilebert", say(key_query_shared_bottleneck=False),
        ["intra_bottleneck_size = 4 must be hidden_size = 8 where both use_bottleneck_attention and key_query_shared"],
    ),
    "no trigrams": (
        "mobilebert", say(trigram_input=False),
        ["embedding_transformation.weight is [8, 18], expected [8, 6] (hidden_size, embedding_size)"],
    ),
    "embedding width under trigrams": (
        "mobilebert", say(embedding_size=5), ["embedding_size = 5, but the tensors say 6"],
    ),
    "the rest of the vocabulary": (
        "mobilebert", put("cls.predictions.dense.weight", (3, 23)),
        ["cls.predictions.dense.weight is [3, 23], expected [2, 23] (hidden_size - embedding_size, vocab_size)"],
    ),
    "no rest of the vocabulary": (
        "mobilebert", without("predictions.dense.weight"), ["missing tensors (1): cls.predictions.dense.weight"],
    ),
    "too few feed-forwards": (
        "mobilebert", say(num_feedforward_networks=4), ["missing tensors (12): ", "encoder.layer.0.ffn.2.intermediate"],
    ),
    "too many feed-forwards": (
        "mobilebert", say(num_feedforward_networks=2),
        ["unexpected tensors (12): ", "encoder.layer.0.ffn.1.intermediate"],
    ),
    "endless feed-forwards": (
        "mobilebert", say(num_feedforward_networks=2**30),
        ["num_feedforward_networks = 1073741824, expected a whole number of at least 1, 1024 at most"],
    ),
    "another norm": (
        "mobilebert", say(normalization_type="batch_norm"),
        ["normalization_type = batch_norm is not supported; expected no_norm, layer_norm"],
    ),
    "everything of mobilebert": (
        "mobilebert",
        lambda config, arrays: [
            f(config, arrays) for f in (say(use_bottleneck="no", hidden_act="gelo"), without("value.bias"))
        ],
        [
            "use_bottleneck = 'no', expected true or false", "hidden_act = gelo is unknown",
            "missing tensors (2): mobilebert.encoder.layer.0.attention.self.value.bias",
        ],
    ),
    "relative positions": (
        "xlm-roberta", say(position_embedding_type="relative_key"),
        ["position_embedding_type = relative_key is not supported; expected absolute"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(tmp_path: Path, fault: str) -> None:
    kind, change, messages = FAULTS[fault]
    config, arrays = dict(CONFIGS[kind]), synthetic.tensors(CONFIGS[kind])
    change(config, arrays)
    with pytest.raises(CheckpointError) as error:
        read(tmp_path, config, arrays)
    for message in messages:
        assert message in str(error.value)


def test_defaults_are_those_of_transformers() -> None:
    """For keys that an old config.json lacks."""
    needed = {name: CONFIGS["albert"][name] for name in _SMALL}
    albert = Config.from_dict({"model_type": "albert", **needed})
    assert (albert.embedding_size, albert.activation, albert.layer_norm_eps) == (128, "gelu_new", 1e-12)
    electra = Config.from_dict({"model_type": "electra", **needed})
    assert (electra.embedding_size, electra.activation, electra.type_vocab_size) == (128, "gelu", 2)
    roberta = Config.from_dict({"model_type": "roberta", **needed})
    assert (roberta.embedding_size, roberta.pad_token_id, roberta.longest_sentence) == (8, 1, 9)
    assert roberta.positions_skip_padding
    assert not electra.positions_skip_padding
    assert electra.longest_sentence == 11
    mobile = Config.from_dict({"model_type": "mobilebert", **needed, "hidden_size": 512})
    assert (mobile.embedding_size, mobile.attention_size, mobile.head_dim) == (128, 128, 64)
    assert (mobile.activation, mobile.layer_norm_eps, mobile.classifier_activation) == ("relu", 1e-12, True)
    assert (albert.attention_size, albert.head_dim) == (8, 4)


def test_what_mobilebert_has_by_its_configuration(tmp_path: Path) -> None:
    """Bottlenecks, norms and the pooler; what is stored without being used is read and let go."""

    def layer(name: str, **changes: object) -> MobileLayerWeights:
        model = read(tmp_path / name, {**CONFIGS["mobilebert"], **changes})
        first = model.encoder.layers[0]
        assert isinstance(first, MobileLayerWeights)
        return first

    usual = layer("usual")
    assert usual.attention_bottleneck is not None
    assert not usual.attends_to_input
    assert (usual.v_lin.weight.shape, usual.q_lin.weight.shape) == ((4, 8), (4, 4))
    assert len(usual.feed_forwards) == 3
    assert isinstance(usual.sa_layer_norm, NoNorm)
    attends = layer("attends", use_bottleneck_attention=True)
    assert attends.attends_to_input
    assert attends.attention_bottleneck is None, "stored, and not used"
    assert attends.v_lin.weight.shape == (4, 4)
    wide = layer("wide", use_bottleneck=False)
    assert (wide.input_bottleneck, wide.attention_bottleneck, wide.output_bottleneck) == (None, None, None)
    assert wide.q_lin.weight.shape == (8, 8)
    queries = layer("queries", key_query_shared_bottleneck=False, intra_bottleneck_size=8)
    assert queries.attention_bottleneck is None
    assert not queries.attends_to_input
    normed = layer("normed", normalization_type="layer_norm", layer_norm_eps=1e-3)
    epsilons = [normed.sa_layer_norm, *(network.norm for network in normed.feed_forwards)]
    assert [norm.eps for norm in epsilons if isinstance(norm, Norm)] == [1e-3, 1e-3, 1e-3, 1e-5], "PyTorch's default"


def test_mobilebert_without_a_projection_or_a_pooler(tmp_path: Path) -> None:
    config = {**CONFIGS["mobilebert"], "trigram_input": False, "embedding_size": 8, "classifier_activation": False}
    model = read(tmp_path / "a", config)
    assert model.encoder.embeddings.projection is None, "stored, and not used"
    assert model.masked_lm is not None
    assert model.masked_lm.projection().shape == (23, 8)
    head = read(tmp_path / "b", {**config, "architectures": ["MobileBertForSequenceClassification"]})
    assert head.pooler is None
    assert head.sequence_classification is not None
    assert head.sequence_classification.dense is None
    with pytest.raises(CheckpointError, match="a mobilebert model has no pooler"):
        read(tmp_path / "c", bare(config), heads=("pooler",))


def test_the_vocabulary_of_mobilebert_is_wider_than_its_words(tmp_path: Path) -> None:
    arrays = synthetic.tensors(CONFIGS["mobilebert"])
    head = read(tmp_path, CONFIGS["mobilebert"]).masked_lm
    assert head is not None
    words, rest = arrays["mobilebert.embeddings.word_embeddings.weight"], arrays["cls.predictions.dense.weight"]
    np.testing.assert_array_equal(head.projection(), np.concatenate([words, rest.T], axis=1))
    np.testing.assert_array_equal(head.projection(slice(3, 9)), head.projection()[3:9])


def test_distilled_extras_of_tinybert_are_ignored(tmp_path: Path) -> None:
    config = {**synthetic.TINYBERT_SMALL, **_SMALL}
    arrays = synthetic.tensors(config)
    extra = {"fit_dense.weight": np.ones((9, 8), np.float32), "fit_denses.0.bias": np.ones(9, np.float32)}
    assert contents(read(tmp_path / "a", config, {**arrays, **extra})) == contents(read(tmp_path / "b", config))
