"""From stored tensors to a model: names, prefixes, ties."""

from __future__ import annotations

import re
import warnings
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from minidistil.weights import CheckpointError, Linear, Norm, open_checkpoint, read_model
from minidistil.weights.read_model import sinusoidal_positions
from tests.synthetic import tensors
from tests.weights import files
from tests.weights.files import read

Tensors = dict[str, np.ndarray]


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
        asked = re.escape("a position table of [2147483647, 8], which no tensor confirms; 16777216 elements")
        with pytest.raises(CheckpointError, match=asked):
            read(tmp_path, {**config, "max_position_embeddings": 2**31 - 1}, arrays)
        assert sinusoidal_positions(4, 5).shape == (4, 5)
