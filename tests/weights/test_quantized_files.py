"""Checkpoints in int8 and bfloat16: what is written is read, as it lies in the file."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil.weights import CheckpointError, Linear, ModelWeights, open_checkpoint, read_model
from minidistil.weights.config import Config
from minidistil.weights.conversion import in_precision
from minidistil.weights.model_weights import is_tied
from minidistil.weights.narrow import BFloat16Linear, Int8Linear, NarrowTable, rounded, widened
from minidistil.weights.precision import precision_of
from tests import families, synthetic
from tests.weights import files, quantized
from tests.weights.quantized import arrays, bits

# Of which weights hold nothing that is not used; the others are refused by name.
_UNUSED = ("mobilebert that attends in the bottleneck", "mobilebert without trigrams or a projection")
_ALL = {name: c for name, c in families.VARIATIONS.items() if not name.startswith("activation") and name not in _UNUSED}
WRITTEN = {"distilbert": {**synthetic.DISTILBERT_SMALL, "vocab_size": 300}, **_ALL}
SMALL = files.DISTILBERT
HEADS = {
    name: {**SMALL, "architectures": [f"DistilBertFor{name}"]}
    for name in ("SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice")
}


def source(folder: Path, config: dict = SMALL) -> ModelWeights:
    return quantized.source(folder / "source", config)


def reread(folder: Path, config: dict, weights: ModelWeights, **options: Any) -> ModelWeights:
    return read_model(open_checkpoint(quantized.write(folder, config, weights)), **options)


class TestRoundTrips:
    @pytest.mark.parametrize("name", WRITTEN)
    def test_int8(self, tmp_path: Path, name: str) -> None:
        """Every bit of every family, the words' table and its projection one."""
        made = quantized.in_int8(source(tmp_path, WRITTEN[name]))
        found = reread(tmp_path, WRITTEN[name], made)
        assert precision_of(found) == "int8"
        assert bits(found) == bits(made)
        if found.masked_lm is not None and found.masked_lm.extension is None:
            tied = WRITTEN[name].get("tie_word_embeddings", True)
            assert is_tied(found.masked_lm.vocab_projector, found.encoder.embeddings.word_embeddings) == tied

    @pytest.mark.parametrize("name", WRITTEN)
    def test_bfloat16(self, tmp_path: Path, name: str) -> None:
        """Written as BF16, and read without a detour: float32 of it is the rounded number."""
        made = in_precision(source(tmp_path, WRITTEN[name]), "bfloat16")
        folder = quantized.write(tmp_path, WRITTEN[name], made)
        assert "quantization_config" not in json.loads((folder / "config.json").read_text())
        opened = open_checkpoint(folder)
        assert bits(read_model(opened, precision="bfloat16")) == bits(made)
        assert precision_of(read_model(opened)) == "float32"
        assert bits(read_model(opened)) == bits(in_precision(made, "float32"))

    @pytest.mark.parametrize("name", ["bert with relu", "albert of groups of two", "roberta untied"])
    def test_smoothed(self, tmp_path: Path, name: str) -> None:
        made = quantized.smoothed(quantized.in_int8(source(tmp_path, WRITTEN[name])))
        found = reread(tmp_path, WRITTEN[name], made)
        assert bits(found) == bits(made)
        assert sum(key.endswith("input_smooth") for key in bits(found)) >= 6

    @pytest.mark.parametrize("name", ["roberta untied", "mobilebert"])
    def test_as_the_package_quantizes(self, tmp_path: Path, name: str) -> None:
        """Of a projection that is no table the input is smoothed too."""
        made = in_precision(source(tmp_path, WRITTEN[name]), "int8")
        assert bits(reread(tmp_path, WRITTEN[name], made)) == bits(made)
        assert ("masked_lm.vocab_projector.input_smooth" in bits(made)) == (name == "roberta untied")

    @pytest.mark.parametrize("name", HEADS)
    def test_heads_are_float32(self, tmp_path: Path, name: str) -> None:
        made = quantized.in_int8(source(tmp_path, HEADS[name]))
        folder = quantized.write(tmp_path, HEADS[name], made)
        assert bits(read_model(open_checkpoint(folder))) == bits(made)
        ignored = json.loads((folder / "config.json").read_text())["quantization_config"]["ignore"]
        head = ["qa_outputs"] if name == "QuestionAnswering" else ["classifier"]
        assert ignored == head + ["pre_classifier"] * (name in ("SequenceClassification", "MultipleChoice"))

    def test_a_model_that_is_partly_int8(self, tmp_path: Path) -> None:
        """Products in float32 are named in `ignore`; tables may be float32 too."""
        made = quantized.in_int8(source(tmp_path))
        plain = source(tmp_path)
        one, two = made.encoder.layers
        layers = (replace(one, lin2=plain.encoder.layers[0].lin2), two)
        embeddings = replace(made.encoder.embeddings, position_embeddings=plain.encoder.embeddings.position_embeddings)
        made = replace(made, encoder=replace(made.encoder, layers=layers, embeddings=embeddings))
        folder = quantized.write(tmp_path, SMALL, made)
        found = read_model(open_checkpoint(folder))
        assert bits(found) == bits(made)
        assert type(found.encoder.layers[0].lin2) is Linear
        assert type(found.encoder.layers[1].lin2) is Int8Linear
        assert json.loads((folder / "config.json").read_text())["quantization_config"]["ignore"] == [
            "distilbert.embeddings.position_embeddings",
            "distilbert.transformer.layer.0.ffn.lin2",
            "vocab_projector",  # which is the words' table
        ]

    def test_every_whole_number(self, tmp_path: Path) -> None:
        """-128 is one."""
        made = quantized.in_int8(source(tmp_path))
        codes = np.arange(-128, 128, dtype=np.int16).astype(np.int8)[:96].reshape(12, 8)
        layer = made.encoder.layers[0]
        layer = replace(layer, lin1=replace(layer.lin1, codes=codes))
        made = replace(made, encoder=replace(made.encoder, layers=(layer, made.encoder.layers[1])))
        found = reread(tmp_path, SMALL, made).encoder.layers[0].lin1
        np.testing.assert_array_equal(found.codes, codes)
        np.testing.assert_array_equal(found.weight, codes * found.scale[:, None])


class TestMemory:
    @pytest.mark.parametrize("precision", ["int8", "bfloat16"])
    def test_what_is_in_the_file_is_not_copied(self, tmp_path: Path, precision: str) -> None:
        weights = source(tmp_path)
        made = quantized.in_int8(weights) if precision == "int8" else in_precision(weights, precision)
        opened = open_checkpoint(quantized.write(tmp_path, SMALL, made))
        found = arrays(read_model(opened, precision=precision))
        narrow = [name for name, x in found.items() if x.dtype != np.float32]
        assert len(narrow) == 2 + 6 * 2 + 2
        if precision == "int8":
            assert all(quantized.is_mapped(x) for x in found.values())
        else:
            assert all(quantized.is_mapped(found[name]) for name in narrow)

    def test_a_base_model_takes_68_megabytes(self) -> None:
        """By the shapes of a DistilBERT-base for masked words: its tables and products in int8, nothing twice."""
        shapes = synthetic.tensor_shapes(synthetic.DISTILBERT_BASE)
        total = 0
        for name, shape in shapes.items():
            narrow = len(shape) == 2
            total += int(np.prod(shape)) * (1 if narrow else 4) + (4 * shape[0] if narrow else 0)
            total += 4 * shape[1] if narrow and "embeddings" not in name else 0  # what its input is multiplied by
        assert total + 30_000 < 68_000_000  # and a header of some 20 kB


class TestPrecisions:
    def test_float32_of_int8(self, tmp_path: Path) -> None:
        made = quantized.smoothed(quantized.in_int8(source(tmp_path)))
        found = reread(tmp_path, SMALL, made, precision="float32")
        assert precision_of(found) == "float32"
        for key, x in arrays(in_precision(made, "float32")).items():
            np.testing.assert_array_equal(arrays(found)[key], x)
        assert is_tied(found.masked_lm.vocab_projector, found.encoder.embeddings.word_embeddings)

    def test_bfloat16_of_a_file_that_is_partly_so(self, tmp_path: Path) -> None:
        """What is BF16 keeps its bits, what is not is rounded; heads and norms are float32."""
        config = HEADS["SequenceClassification"]
        tensors = synthetic.tensors(config)
        half = {
            name: files.bfloat16(x) if "layer.0" in name or "classifier" in name else x for name, x in tensors.items()
        }
        found = read_model(open_checkpoint(files.write_model(tmp_path, config, half)), precision="bfloat16")
        first, second = found.encoder.layers
        q_lin = "distilbert.transformer.layer.{}.attention.q_lin.weight"
        assert isinstance(first.q_lin, BFloat16Linear)
        assert isinstance(second.q_lin, BFloat16Linear)
        np.testing.assert_array_equal(first.q_lin.bits, half[q_lin.format(0)])
        np.testing.assert_array_equal(second.q_lin.bits, rounded(tensors[q_lin.format(1)]))
        words = found.encoder.embeddings.word_embeddings
        assert isinstance(words, NarrowTable)
        np.testing.assert_array_equal(words.codes, rounded(tensors["distilbert.embeddings.word_embeddings.weight"]))
        head = found.sequence_classification
        np.testing.assert_array_equal(head.output.weight, widened(half["classifier.weight"]))
        norm = "distilbert.transformer.layer.0.sa_layer_norm.bias"
        np.testing.assert_array_equal(first.sa_layer_norm.bias, widened(half[norm]))

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_bits_that_are_no_numbers(self, tmp_path: Path, bad: float) -> None:
        tensors = {name: files.bfloat16(x) for name, x in synthetic.tensors(SMALL).items()}
        name = "distilbert.transformer.layer.1.ffn.lin1.weight"
        tensors[name][3, 2] = files.bfloat16(np.float32([bad]))[0]
        opened = open_checkpoint(files.write_model(tmp_path, SMALL, tensors))
        with pytest.raises(CheckpointError, match=rf"NaN or infinity in 1 tensors: {name} \(1 of 96 values\)"):
            read_model(opened, precision="bfloat16")

    def test_an_unknown_one(self, tmp_path: Path) -> None:
        opened = open_checkpoint(files.write_model(tmp_path, SMALL))
        with pytest.raises(ValueError, match="precision must be one of float32, bfloat16, int8, got 'int4'"):
            read_model(opened, precision="int4")


class TestOthersFiles:
    """Of files that other programs could have written."""

    def test_scales_in_other_types_and_shapes(self, tmp_path: Path) -> None:
        config, tensors = quantized.stored(quantized.write(tmp_path, SMALL))
        scales = [name for name in tensors if name.endswith("weight_scale")]
        for i, name in enumerate(scales):
            flat = tensors[name].reshape(-1) if i % 2 else tensors[name]
            tensors[name] = (flat.astype(np.float16), files.bfloat16(flat), flat, flat.astype(np.float64))[i % 4]
        assert {files.code_of(tensors[name]) for name in scales} == {"F16", "BF16", "F32", "F64"}
        found = arrays(read_model(open_checkpoint(files.write_model(tmp_path / "other", config, tensors))))
        kept = {name: x for name, x in found.items() if name.endswith("weight_scale")}
        assert len(kept) == len(scales) + 1  # and the projection's, which are the words'
        assert all(x.dtype == np.float32 and x.ndim == 1 for x in kept.values())
        for layer in range(2):
            for module in ("q_lin", "k_lin", "v_lin", "out_lin"):
                as_stored = tensors[f"distilbert.transformer.layer.{layer}.attention.{module}.weight_scale"].reshape(-1)
                expected = files.widened(as_stored) if as_stored.dtype == np.uint16 else as_stored.astype(np.float32)
                np.testing.assert_array_equal(kept[f"layers.{layer}.{module}.weight_scale"], expected)

    @pytest.mark.parametrize("smooth", [False, True])
    def test_a_head_in_int8_becomes_float32(self, tmp_path: Path, smooth: bool) -> None:
        config, tensors = quantized.stored(quantized.write(tmp_path, HEADS["SequenceClassification"]))
        w = quantized.linear(Linear(tensors["pre_classifier.weight"], tensors["pre_classifier.bias"]))
        assert isinstance(w, Int8Linear)
        tensors |= {"pre_classifier.weight": w.codes, "pre_classifier.weight_scale": w.scale[:, None]}
        if smooth:
            w = replace(w, smooth=np.linspace(0.5, 2, 8, dtype=np.float32))
            tensors["pre_classifier.input_smooth"] = w.smooth
        config["quantization_config"]["ignore"].remove("pre_classifier")
        found = read_model(open_checkpoint(files.write_model(tmp_path / "other", config, tensors)))
        assert type(found.sequence_classification.dense) is Linear
        np.testing.assert_array_equal(found.sequence_classification.dense.weight, w.weight)

    def test_only_products(self, tmp_path: Path) -> None:
        """Tables in float32, as most files of compressed-tensors have them; one group, named modules, a null."""
        config, tensors = quantized.stored(quantized.write(tmp_path, SMALL))
        plain = synthetic.tensors(SMALL)
        for name in [name for name in tensors if "embeddings.weight" in name]:
            tensors[name] = plain[name.removesuffix("_scale")] if name.endswith("weight") else tensors.pop(name)
            if name.endswith("_scale"):
                del tensors[name]
        said = config["quantization_config"]
        del said["minidistil"], said["config_groups"]["group_1"]
        said["config_groups"]["group_0"]["weights"] |= {"observer": "minmax", "group_size": None, "actorder": None}
        said["version"], said["kv_cache_scheme"], said["sparsity_config"] = "0.20.0", None, {}
        found = read_model(open_checkpoint(files.write_model(tmp_path / "other", config, tensors)))
        assert isinstance(found.encoder.embeddings.word_embeddings, np.ndarray)
        assert isinstance(found.masked_lm.vocab_projector, Linear)
        assert isinstance(found.encoder.layers[0].q_lin, Int8Linear)

    def test_a_bare_model_of_a_headed_file(self, tmp_path: Path) -> None:
        """Names with and without the prefix are the same modules."""
        config, tensors = quantized.stored(quantized.write(tmp_path, HEADS["TokenClassification"]))
        short = {name.removeprefix("distilbert."): x for name, x in tensors.items()}
        config["quantization_config"]["ignore"] = ["classifier", "distilbert.transformer.layer.0.ffn.lin1"]
        lin1 = "transformer.layer.0.ffn.lin1.weight"
        short[lin1] = short[lin1] * short.pop(f"{lin1}_scale")
        found = read_model(open_checkpoint(files.write_model(tmp_path / "short", config, short)))
        assert isinstance(found.encoder.layers[0].lin1, Linear)
        assert isinstance(found.encoder.layers[0].lin2, Int8Linear)

    def test_a_tied_projection_stored_twice(self, tmp_path: Path) -> None:
        config, tensors = quantized.stored(quantized.write(tmp_path, SMALL))
        words = "distilbert.embeddings.word_embeddings.weight"
        tensors |= {"vocab_projector.weight": tensors[words], "vocab_projector.weight_scale": tensors[f"{words}_scale"]}
        config["quantization_config"]["ignore"] = []
        found = read_model(open_checkpoint(files.write_model(tmp_path / "twice", config, tensors)))
        assert is_tied(found.masked_lm.vocab_projector, found.encoder.embeddings.word_embeddings)
        del tensors["vocab_projector.weight"]
        found = read_model(open_checkpoint(files.write_model(tmp_path / "scales", config, tensors)))
        assert is_tied(found.masked_lm.vocab_projector, found.encoder.embeddings.word_embeddings)

    def test_a_pytorch_file(self, tmp_path: Path) -> None:
        """Whole numbers in a pytorch_model.bin; a copy of it is safetensors, and the same model."""
        config, tensors = quantized.stored(quantized.write(tmp_path, SMALL))
        words = "distilbert.embeddings.word_embeddings"
        tensors |= {f"vocab_projector.{kind}": tensors[f"{words}.{kind}"] for kind in ("weight", "weight_scale")}
        config["quantization_config"]["ignore"] = []
        folder = files.write_model(tmp_path / "torch", config, tensors, torch=True)
        whole = read_model(open_checkpoint(tmp_path / "int8"))
        assert bits(read_model(open_checkpoint(folder))) == bits(whole)
        minidistil.load(folder, backend="blas").save_pretrained(tmp_path / "copy")
        assert bits(read_model(open_checkpoint(tmp_path / "copy"))) == bits(whole)
        assert "vocab_projector.weight_scale" not in open_checkpoint(tmp_path / "copy").names


class TestCopies:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return quantized.write(tmp_path, HEADS["SequenceClassification"])

    def test_saved_as_it_is(self, tmp_path: Path, folder: Path) -> None:
        model = minidistil.AutoModelForSequenceClassification.from_pretrained(folder, backend="blas")
        model.save_pretrained(tmp_path / "copy")
        for name in ("config.json", "model.safetensors"):
            assert (tmp_path / "copy" / name).read_bytes() == (folder / name).read_bytes()

    def test_saved_with_another_configuration(self, tmp_path: Path, folder: Path) -> None:
        """What the file's tensors are does not change by what is said of the model."""
        given = {**SMALL, "architectures": ["DistilBertForSequenceClassification"], "id2label": {0: "no", 1: "yes"}}
        model = minidistil.AutoModelForSequenceClassification.from_pretrained(folder, backend="blas", config=given)
        model.save_pretrained(tmp_path / "copy")
        again = minidistil.AutoModelForSequenceClassification.from_pretrained(tmp_path / "copy", backend="blas")
        assert list(again.config.id2label.values()) == ["no", "yes"]
        assert bits(read_model(open_checkpoint(tmp_path / "copy"))) == bits(read_model(open_checkpoint(folder)))

    def test_a_quantized_configuration_for_a_file_in_float32(self, tmp_path: Path, folder: Path) -> None:
        config = Config.from_pretrained(folder)
        model = minidistil.AutoModelForSequenceClassification.from_pretrained(
            tmp_path / "source", backend="blas", config=config
        )
        assert "quantization_config" not in model.config.raw

    def test_pickled_by_reference(self, folder: Path) -> None:
        model = minidistil.AutoModelForSequenceClassification.from_pretrained(folder, backend="exact")
        for other in (pickle.loads(pickle.dumps(model)), copy.copy(model)):
            np.testing.assert_array_equal(other([[1, 2, 3]])[0], model([[1, 2, 3]])[0])
