"""From stored tensors to a model: names, prefixes, ties, and every fault by its text."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidistil.weights import CheckpointError, Linear, ModelWeights, Norm, open_checkpoint, read_model
from minidistil.weights._storage import count_nonfinite
from minidistil.weights.read_model import sinusoidal_positions
from tests.synthetic import tensors
from tests.weights import files

Tensors = dict[str, np.ndarray]


def read(
    folder: Path, config: dict, arrays: Tensors | None = None, heads: tuple[str, ...] | None = None
) -> ModelWeights:
    return read_model(open_checkpoint(files.write_model(folder, config, arrays)), heads)


def same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert not found.flags.writeable
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def same_module(found: Linear | Norm | None, arrays: Tensors, name: str) -> None:
    assert found is not None
    same(found.weight, arrays[f"{name}.weight"])
    same(found.bias, arrays[f"{name}.bias"])


def every_array(weights: object) -> list[np.ndarray]:
    if isinstance(weights, np.ndarray):
        return [weights]
    if isinstance(weights, tuple):
        return [x for part in weights for x in every_array(part)]
    if hasattr(weights, "__dataclass_fields__"):
        return [x for f in fields(weights) for x in every_array(getattr(weights, f.name))]  # type: ignore[arg-type]
    return []


class TestNames:
    def test_distilbert(self, tmp_path: Path) -> None:
        arrays = tensors(files.DISTILBERT)
        model = read(tmp_path, files.DISTILBERT)
        embeddings = model.encoder.embeddings
        same(embeddings.word_embeddings, arrays["distilbert.embeddings.word_embeddings.weight"])
        same(embeddings.position_embeddings, arrays["distilbert.embeddings.position_embeddings.weight"])
        assert embeddings.token_type_embeddings is None
        same_module(embeddings.layer_norm, arrays, "distilbert.embeddings.LayerNorm")
        assert len(model.encoder.layers) == 2
        for i, layer in enumerate(model.encoder.layers):
            at = f"distilbert.transformer.layer.{i}"
            for name in ("q_lin", "k_lin", "v_lin", "out_lin"):
                same_module(getattr(layer, name), arrays, f"{at}.attention.{name}")
            same_module(layer.sa_layer_norm, arrays, f"{at}.sa_layer_norm")
            same_module(layer.lin1, arrays, f"{at}.ffn.lin1")
            same_module(layer.lin2, arrays, f"{at}.ffn.lin2")
            same_module(layer.output_layer_norm, arrays, f"{at}.output_layer_norm")
        assert model.masked_lm is not None
        same_module(model.masked_lm.vocab_transform, arrays, "vocab_transform")
        same_module(model.masked_lm.vocab_layer_norm, arrays, "vocab_layer_norm")
        same(model.masked_lm.vocab_projector.bias, arrays["vocab_projector.bias"])
        assert model.masked_lm.vocab_projector.weight is embeddings.word_embeddings
        assert model.pooler is None
        assert len(every_array(model)) == len(arrays) + 1

    def test_bert(self, tmp_path: Path) -> None:
        arrays = tensors(files.BERT)
        model = read(tmp_path, files.BERT)
        embeddings = model.encoder.embeddings
        assert embeddings.token_type_embeddings is not None
        same(embeddings.token_type_embeddings, arrays["embeddings.token_type_embeddings.weight"])
        for i, layer in enumerate(model.encoder.layers):
            at = f"encoder.layer.{i}"
            same_module(layer.q_lin, arrays, f"{at}.attention.self.query")
            same_module(layer.k_lin, arrays, f"{at}.attention.self.key")
            same_module(layer.v_lin, arrays, f"{at}.attention.self.value")
            same_module(layer.out_lin, arrays, f"{at}.attention.output.dense")
            same_module(layer.sa_layer_norm, arrays, f"{at}.attention.output.LayerNorm")
            same_module(layer.lin1, arrays, f"{at}.intermediate.dense")
            same_module(layer.lin2, arrays, f"{at}.output.dense")
            same_module(layer.output_layer_norm, arrays, f"{at}.output.LayerNorm")
        same_module(model.pooler, arrays, "pooler.dense")
        assert model.masked_lm is None
        assert len(every_array(model)) == len(arrays)

    def test_bert_masked_lm(self, tmp_path: Path) -> None:
        arrays = tensors(files.BERT_MLM)
        model = read(tmp_path, files.BERT_MLM)
        assert model.masked_lm is not None
        same_module(model.masked_lm.vocab_transform, arrays, "cls.predictions.transform.dense")
        same_module(model.masked_lm.vocab_layer_norm, arrays, "cls.predictions.transform.LayerNorm")
        same(model.masked_lm.vocab_projector.bias, arrays["cls.predictions.bias"])
        assert model.masked_lm.vocab_projector.weight is model.encoder.embeddings.word_embeddings
        assert model.pooler is None

    @pytest.mark.parametrize(("config", "epsilon"), [(files.DISTILBERT, 1e-12), (files.BERT, 1e-5)])
    def test_epsilon(self, tmp_path: Path, config: dict, epsilon: float) -> None:
        """BERT's is config.json's; DistilBERT's is a constant of the architecture, whatever config.json says."""
        model = read(tmp_path, {**config, "layer_norm_eps": 1e-5})
        norms = [model.encoder.embeddings.layer_norm]
        norms += [n for layer in model.encoder.layers for n in (layer.sa_layer_norm, layer.output_layer_norm)]
        norms += [model.masked_lm.vocab_layer_norm] if model.masked_lm else []
        assert {norm.eps for norm in norms} == {epsilon}

    @pytest.mark.parametrize("config", [files.DISTILBERT_BARE, files.BERT])
    def test_prefix_added(self, tmp_path: Path, config: dict) -> None:
        arrays = tensors(config)
        prefixed = {f"{config['model_type']}.{name}": x for name, x in arrays.items()}
        bare, other = read(tmp_path / "a", config, arrays), read(tmp_path / "b", config, prefixed)
        for one, two in zip(every_array(bare), every_array(other), strict=True):
            same(one, two)

    @pytest.mark.parametrize("config", [files.DISTILBERT, files.BERT_MLM])
    def test_prefix_stripped(self, tmp_path: Path, config: dict) -> None:
        arrays = {name.removeprefix(f"{config['model_type']}."): x for name, x in tensors(config).items()}
        assert read(tmp_path, config, arrays).masked_lm is not None

    def test_gamma_and_beta(self, tmp_path: Path) -> None:
        arrays = tensors(files.BERT)
        old = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): x
            for name, x in arrays.items()
        }
        assert old.keys() != arrays.keys()
        new_model, old_model = read(tmp_path / "a", files.BERT, arrays), read(tmp_path / "b", files.BERT, old)
        for one, two in zip(every_array(new_model), every_array(old_model), strict=True):
            same(one, two)

    @pytest.mark.parametrize("torch", [False, True])
    @pytest.mark.parametrize("dtype", ["<f4", "<f2", "<u2", "<f8"])
    def test_storage_does_not_show(self, tmp_path: Path, torch: bool, dtype: str) -> None:
        def store(x: np.ndarray) -> np.ndarray:
            return files.bfloat16(x) if dtype == "<u2" else x.astype(dtype)

        def restored(x: np.ndarray) -> np.ndarray:
            return files.widened(store(x)) if dtype == "<u2" else store(x).astype(np.float32)

        arrays = tensors(files.DISTILBERT)
        folder = files.write_model(tmp_path, files.DISTILBERT, {n: store(x) for n, x in arrays.items()}, torch=torch)
        model = read_model(open_checkpoint(folder))
        for found in every_array(model):
            assert found.dtype == np.float32
            assert found.flags.c_contiguous
            assert found.flags.aligned
            assert not found.flags.writeable
        lin2 = "distilbert.transformer.layer.1.ffn.lin2.weight"
        same(model.encoder.layers[1].lin2.weight, restored(arrays[lin2]))

    def test_real_checkpoint(self, minilm: Path) -> None:
        from safetensors.numpy import load_file

        model = read_model(open_checkpoint(minilm))
        arrays = load_file(minilm / "model.safetensors")
        same(model.encoder.layers[5].lin1.weight, arrays["encoder.layer.5.intermediate.dense.weight"])
        assert model.pooler is not None
        assert model.masked_lm is None
        assert sum(x.size for x in every_array(model)) == 22_713_216


class TestHeads:
    def test_only_what_was_asked_for(self, tmp_path: Path) -> None:
        assert read(tmp_path, files.DISTILBERT, heads=()).masked_lm is None
        assert read(tmp_path, files.DISTILBERT, heads=("masked_lm",)).masked_lm is not None
        assert read(tmp_path, files.BERT, heads=()).pooler is not None, "the pooler is part of the base model"

    def test_absent_heads(self, tmp_path: Path) -> None:
        assert read(tmp_path / "a", files.DISTILBERT_BARE).masked_lm is None
        with pytest.raises(CheckpointError) as error:
            read(tmp_path / "b", files.DISTILBERT_BARE, heads=("masked_lm",))
        assert (
            "missing tensors (5): vocab_transform.weight, vocab_transform.bias, vocab_layer_norm.weight, "
            "vocab_layer_norm.bias, vocab_projector.bias" in str(error.value)
        )
        with pytest.raises(CheckpointError, match="a distilbert model has no pooler"):
            read(tmp_path / "c", files.DISTILBERT, heads=("pooler",))
        with pytest.raises(CheckpointError, match=r"missing tensors \(2\): bert.pooler.dense.weight, bert.pooler"):
            read(tmp_path / "d", files.BERT_MLM, heads=("pooler",))

    def test_unknown_head(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="unknown heads 'mlm'; there are pooler, masked_lm, sequence_c"):
            read(tmp_path, files.DISTILBERT, heads=("mlm",))

    @pytest.mark.parametrize(
        ("config", "extra"),
        [
            (files.DISTILBERT_BARE, ["pre_classifier.weight", "classifier.bias", "qa_outputs.weight"]),
            (files.DISTILBERT, ["pre_classifier.weight", "my_own_head.0.weight"]),
            (files.BERT, ["cls.seq_relationship.weight", "classifier.weight", "qa_outputs.bias"]),
            (files.BERT_MLM, ["cls.seq_relationship.weight", "fit_denses.0.weight", "somebodys.weight"]),
            (files.BERT, ["embeddings.position_ids", "embeddings.token_type_ids"]),
            (files.DISTILBERT, ["distilbert.embeddings.position_ids"]),
        ],
    )
    def test_what_is_not_unexpected(self, tmp_path: Path, config: dict, extra: list[str]) -> None:
        arrays = {**tensors(config), **{name: np.arange(6).reshape(2, 3) for name in extra}}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read(tmp_path, config, arrays, heads=())
            read(tmp_path, config, arrays)


class TestTies:
    def test_only_the_projection_is_stored(self, tmp_path: Path) -> None:
        arrays = tensors(files.DISTILBERT)
        word = arrays.pop("distilbert.embeddings.word_embeddings.weight")
        arrays["vocab_projector.weight"] = word
        for heads in (None, (), ("masked_lm",)):
            model = read(tmp_path, files.DISTILBERT, arrays, heads)
            same(model.encoder.embeddings.word_embeddings, word)
            if model.masked_lm:
                assert model.masked_lm.vocab_projector.weight is model.encoder.embeddings.word_embeddings

    def test_both_stored_and_equal(self, tmp_path: Path) -> None:
        arrays = tensors(files.DISTILBERT)
        arrays["vocab_projector.weight"] = arrays["distilbert.embeddings.word_embeddings.weight"].copy()
        model = read(tmp_path, files.DISTILBERT, arrays)
        assert model.masked_lm is not None
        assert model.masked_lm.vocab_projector.weight is model.encoder.embeddings.word_embeddings

    def test_both_stored_and_different(self, tmp_path: Path) -> None:
        arrays = tensors(files.DISTILBERT)
        word = arrays["distilbert.embeddings.word_embeddings.weight"]
        arrays["vocab_projector.weight"] = other = word + np.float32(1)
        with pytest.warns(UserWarning, match="vocab_projector.weight and distilbert.embeddings.*differ; both are used"):
            model = read(tmp_path, files.DISTILBERT, arrays)
        assert model.masked_lm is not None
        same(model.masked_lm.vocab_projector.weight, other)
        same(model.encoder.embeddings.word_embeddings, word)

    def test_not_tied_by_config(self, tmp_path: Path) -> None:
        config = {**files.DISTILBERT, "tie_word_embeddings": False}
        arrays = tensors(files.DISTILBERT)
        with pytest.raises(CheckpointError, match=r"missing tensors \(1\): vocab_projector.weight"):
            read(tmp_path, config, arrays)
        word = arrays["distilbert.embeddings.word_embeddings.weight"]
        arrays["vocab_projector.weight"] = word + np.float32(1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = read(tmp_path, config, arrays)
        assert model.masked_lm is not None
        same(model.masked_lm.vocab_projector.weight, arrays["vocab_projector.weight"])
        del arrays["distilbert.embeddings.word_embeddings.weight"]
        with pytest.raises(CheckpointError, match=r"missing.*distilbert\.embeddings\.word_embeddings\.weight"):
            read(tmp_path, config, arrays)

    def test_decoder_bias(self, tmp_path: Path) -> None:
        arrays = tensors(files.BERT_MLM)
        bias = arrays["cls.predictions.bias"]
        arrays["cls.predictions.decoder.bias"] = bias.copy()
        read(tmp_path / "a", files.BERT_MLM, arrays)
        arrays["cls.predictions.decoder.bias"] = other = bias + np.float32(1)
        with pytest.warns(UserWarning, match="cls.predictions.decoder.bias and cls.predictions.bias should be equal"):
            model = read(tmp_path / "b", files.BERT_MLM, arrays)
        assert model.masked_lm is not None
        same(model.masked_lm.vocab_projector.bias, other)
        del arrays["cls.predictions.bias"]
        assert read(tmp_path / "c", files.BERT_MLM, arrays).masked_lm is not None

    def test_sinusoidal_positions(self, tmp_path: Path) -> None:
        config = {**files.DISTILBERT, "sinusoidal_pos_embds": True}
        arrays = tensors(config)
        name = "distilbert.embeddings.position_embeddings.weight"
        stored = arrays[name]
        same(read(tmp_path, config, arrays).encoder.embeddings.position_embeddings, stored)  # stored: not computed
        del arrays[name]
        found = read(tmp_path, config, arrays).encoder.embeddings.position_embeddings
        angles = np.array([[p / 10000 ** (2 * (j // 2) / 8) for j in range(8)] for p in range(11)])
        expected = np.where(np.arange(8) % 2, np.cos(angles), np.sin(angles)).astype(np.float32)
        same(found, expected)
        assert found[0].tolist() == [0, 1] * 4
        with pytest.raises(CheckpointError, match=f"missing.*{name}"):
            read(tmp_path, {**config, "sinusoidal_pos_embds": False}, arrays)
        with pytest.raises(CheckpointError, match=f"missing.*{name}"):
            read(tmp_path, {**config, "max_position_embeddings": 2**31 - 1}, arrays)
        assert sinusoidal_positions(4, 5).shape == (4, 5)


Q_LIN = "distilbert.transformer.layer.0.attention.q_lin.weight"
WORDS = "distilbert.embeddings.word_embeddings.weight"


def all_of(*changes: Callable[[dict, Tensors], None]) -> Callable[[dict, Tensors], None]:
    def change(config: dict, arrays: Tensors) -> None:
        for one in changes:
            one(config, arrays)

    return change


def remove(*names: str) -> Callable[[dict, Tensors], None]:
    def change(config: dict, arrays: Tensors) -> None:
        for name in names:
            del arrays[name]

    return change


def rename(name: str, new: str) -> Callable[[dict, Tensors], None]:
    return lambda config, arrays: arrays.update({new: arrays.pop(name)})


def put(name: str, x: np.ndarray) -> Callable[[dict, Tensors], None]:
    return lambda config, arrays: arrays.update({name: x})


def say(**values: object) -> Callable[[dict, Tensors], None]:
    return lambda config, arrays: config.update(values)


def forget(*keys: str) -> Callable[[dict, Tensors], None]:
    def change(config: dict, arrays: Tensors) -> None:
        for key in keys:
            del config[key]

    return change


def spoil(name: str, *values: float) -> Callable[[dict, Tensors], None]:
    def change(config: dict, arrays: Tensors) -> None:
        arrays[name].reshape(-1)[: len(values)] = values

    return change


def layer(i: int, *, to: int | None = None) -> Callable[[dict, Tensors], None]:
    """Remove layer i, or call it `to`."""

    def change(config: dict, arrays: Tensors) -> None:
        for name in [name for name in arrays if f".layer.{i}." in name]:
            x = arrays.pop(name)
            if to is not None:
                arrays[name.replace(f".layer.{i}.", f".layer.{to}.")] = x

    return change


MISSPELT = Q_LIN.replace("q_lin", "q_line")
FAULTS: dict[str, tuple[Callable[[dict, Tensors], None], list[str]]] = {
    "missing": (remove(Q_LIN, "vocab_layer_norm.bias"), [f"missing tensors (2): {Q_LIN}, vocab_layer_norm.bias"]),
    "misspelt": (rename(Q_LIN, MISSPELT), [f"missing tensors (1): {Q_LIN}", f"unexpected tensors (1): {MISSPELT}"]),
    "misspelt head": (
        rename("vocab_transform.bias", "vocab_transfrom.bias"),
        ["missing tensors (1): vocab_transform.bias", "unexpected tensors (1): vocab_transfrom.bias"],
    ),
    "unexpected": (
        put("distilbert.transformer.layer.1.attention.rel.weight", np.ones(3, "f4")),
        ["unexpected tensors (1): distilbert.transformer.layer.1.attention.rel.weight"],
    ),
    "twice": (
        put(WORDS.removeprefix("distilbert."), np.ones((23, 8), "f4")),
        [f"{WORDS} and {WORDS.removeprefix('distilbert.')} are the same parameter"],
    ),
    "mis-shaped": (put(Q_LIN, np.ones((8, 9), "f4")), [f"{Q_LIN} is [8, 9], expected [8, 8] (dim, dim)"]),
    "the first of them": (
        put(WORDS, np.ones((23, 9), "f4")),
        [f"{WORDS} is [23, 9], expected [23, 8] (vocab_size, dim)"],
    ),
    "rank": (put(Q_LIN, np.ones(64, "f4")), [f"{Q_LIN} is [64], expected [8, 8] (dim, dim)"]),
    "scalar": (put(Q_LIN, np.float32(1).reshape(())), [f"{Q_LIN} is [], expected [8, 8] (dim, dim)"]),
    "integers": (put(Q_LIN, np.ones((8, 8), "i1")), [f"{Q_LIN} is stored as I8; weights are read from F64, F32"]),
    "NaN": (spoil(Q_LIN, np.nan, np.inf, -np.inf), ["NaN or infinity in 1 tensors", f"{Q_LIN} (3 of 64 values)"]),
    "NaN in two": (
        all_of(spoil(Q_LIN, np.nan), spoil("vocab_projector.bias", np.nan)),
        ["NaN or infinity in 2 tensors", f"{Q_LIN} (1 of 64 values)", "vocab_projector.bias (1 of 23 values)"],
    ),
    "overflow to infinity": (
        put(Q_LIN, np.full((8, 8), 1e300)),
        ["NaN or infinity in 1 tensors", f"{Q_LIN} (64 of 64 values)"],
    ),
    "dim": (say(dim=16), [f"config.json: dim = 16, but the tensors say 8: {WORDS} is [23, 8] and"]),
    "dim by its alias": (
        all_of(forget("dim"), say(hidden_size=16)),
        ["config.json: hidden_size = 16, but the tensors say 8"],
    ),
    "hidden_dim": (
        say(hidden_dim=13),
        ["config.json: hidden_dim = 13, but the tensors say 12", "ffn.lin1.weight is [12, 8]"],
    ),
    "vocab_size": (
        say(vocab_size=30522),
        [f"vocab_size = 30522, but the tensors say 23: {WORDS} is [23, 8] and 1 more"],
    ),
    "positions": (
        say(max_position_embeddings=512),
        ["max_position_embeddings = 512, but the tensors say 11", "position_embeddings.weight is [11, 8]"],
    ),
    "more layers": (say(n_layers=6), ["n_layers = 6, but the tensors say 2: transformer.layer.N for N from 0 to 1"]),
    "millions of layers": (say(n_layers=2**31 - 1), ["n_layers = 2147483647, but the tensors say 2"]),
    "fewer layers": (say(n_layers=1), ["n_layers = 1, but the tensors say 2: transformer.layer.N for N from 0 to 1"]),
    "layer missing": (layer(0), ["n_layers = 2, but the tensors say 1: transformer.layer.N for N = 1"]),
    "layer renumbered": (layer(1, to=7), ["n_layers = 2, but the tensors say 2: transformer.layer.N for N = 0, 7"]),
    "no layers": (
        all_of(layer(0), layer(1)),
        ["n_layers = 2, but the tensors say none: nothing is named transformer.layer.N"],
    ),
    "heads": (say(n_heads=3), ["config.json: n_heads = 3 does not divide dim = 8"]),
    "no heads": (say(n_heads=0), ["config.json: n_heads = 0, expected a whole number of at least 1"]),
    "fraction": (say(dim=8.0), ["config.json: dim = 8.0, expected a whole number of at least 1"]),
    "true": (say(n_layers=True), ["config.json: n_layers = True, expected a whole number"]),
    "text": (say(vocab_size="23"), ["config.json: vocab_size = '23', expected a whole number"]),
    "null": (say(vocab_size=None), ["config.json: vocab_size = None, expected a whole number"]),
    "lacking keys": (forget("dim", "n_heads"), ["config.json lacks n_heads", "config.json lacks dim"]),
    "activation": (say(activation="gelo"), ["activation = gelo is unknown; known are gelu, gelu_new, gelu_fast"]),
    "ties": (say(tie_word_embeddings="no"), ["tie_word_embeddings = 'no', expected true or false"]),
    "model_type": (
        say(model_type="gpt2"),
        ["model_type gpt2 is not supported; supported are albert, bert, camembert, distilbert, electra, mobilebert, "],
    ),
    "odd model_type": (say(model_type=["bert"]), ["model_type ['bert'] is not supported"]),
    "no model_type": (
        forget("model_type"),
        ["config.json: has no model_type; supported are albert, bert, camembert, distilbert, electra, mobilebert, "],
    ),
    "everything": (
        all_of(
            spoil("vocab_projector.bias", np.nan),
            rename(Q_LIN, MISSPELT),
            put("vocab_transform.weight", np.ones((8, 7), "f4")),
            say(n_heads=3, max_position_embeddings=12),
        ),
        [
            "n_heads = 3 does not divide dim = 8",
            "max_position_embeddings = 12, but the tensors say 11",
            "vocab_transform.weight is [8, 7], expected [8, 8]",
            "vocab_projector.bias (1 of 23 values)",
            f"missing tensors (1): {Q_LIN}",
            f"unexpected tensors (1): {MISSPELT}",
            "6 faults",
        ],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(tmp_path: Path, fault: str) -> None:
    change, messages = FAULTS[fault]
    config, arrays = dict(files.DISTILBERT), tensors(files.DISTILBERT)
    change(config, arrays)
    with pytest.raises(CheckpointError) as error:
        read(tmp_path, config, arrays)
    for message in messages:
        assert message in str(error.value)
    expected = sum(not message.endswith("faults") for message in messages)
    assert len(error.value.faults) <= expected, f"a fault that is none, or one said twice: {error.value}"


BERT_FAULTS = {
    "epsilon": ({"layer_norm_eps": -1e-12}, "layer_norm_eps = -1e-12, expected a number"),
    "epsilon NaN": ({"layer_norm_eps": float("nan")}, "layer_norm_eps = nan, expected a number"),
    "relative positions": ({"position_embedding_type": "relative_key"}, "relative_key is not supported"),
    "decoder": ({"is_decoder": True}, "is_decoder = True is not supported; expected False"),
    "token types": ({"type_vocab_size": 4}, "type_vocab_size = 4, but the tensors say 2"),
}


@pytest.mark.parametrize("fault", BERT_FAULTS)
def test_bert_faults(tmp_path: Path, fault: str) -> None:
    values, message = BERT_FAULTS[fault]
    with pytest.raises(CheckpointError) as error:
        read(tmp_path, {**files.BERT, **values}, tensors(files.BERT))
    assert message in str(error.value)
    assert len(error.value.faults) == 1


def test_finiteness_can_be_left_unchecked(tmp_path: Path) -> None:
    arrays = tensors(files.DISTILBERT)
    arrays[Q_LIN][0, 0] = np.nan
    checkpoint = open_checkpoint(files.write_model(tmp_path, files.DISTILBERT, arrays))
    assert np.isnan(read_model(checkpoint, check_finite=False).encoder.layers[0].q_lin.weight[0, 0])


class TestCountNonfinite:
    @given(hnp.arrays(np.float32, st.integers(0, 300), elements=st.floats(width=32)))
    def test_against_numpy(self, x: np.ndarray) -> None:
        assert count_nonfinite(x) == np.count_nonzero(~np.isfinite(x))

    @pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
    def test_one_anywhere(self, value: float) -> None:
        x = np.random.default_rng(0).standard_normal(100_003, dtype=np.float32)
        for position in (0, 1, 63, 64, 50_001, 100_001, 100_002):
            changed = x.copy()
            changed[position] = value
            assert count_nonfinite(changed) == 1
        assert count_nonfinite(x) == 0

    def test_large_values_are_finite(self) -> None:
        assert count_nonfinite(np.full((100, 100), 3e38, np.float32)) == 0
        assert count_nonfinite(np.full((100, 100), 1e-45, np.float32)) == 0
        assert count_nonfinite(np.float32([[3e38, np.inf], [-3e38, -np.inf]])) == 2
