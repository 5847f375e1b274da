"""Quantized files between this package and compressed-tensors, whose words they are in: each reads the other's."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil.weights import open_checkpoint, read_model
from minidistil.weights.named import named
from minidistil.weights.narrow import Int8Linear
from tests import synthetic
from tests.weights import quantized

_MISSING = [name for name in ("torch", "transformers", "compressed_tensors") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {', '.join(_MISSING)} (compressed-tensors 0.20)"),
    pytest.mark.filterwarnings("ignore"),
]
_LABELS = {"id2label": {"0": "no", "1": "yes", "2": "both"}}
CONFIGS: dict[str, dict[str, Any]] = {
    "DistilBertForMaskedLM": synthetic.DISTILBERT_SMALL,
    "DistilBertForSequenceClassification": {**synthetic.DISTILBERT_SMALL, **_LABELS},
    "BertModel": synthetic.BERT_SMALL,
    "BertForTokenClassification": {**synthetic.BERT_SMALL, **_LABELS},
    "RobertaForMaskedLM": synthetic.ROBERTA_SMALL,
    "AlbertForMaskedLM": synthetic.ALBERT_SMALL,
    "ElectraForPreTraining": synthetic.ELECTRA_SMALL,
}
IDS = (np.arange(40).reshape(2, 20) * 7) % 290 + 5


def written(folder: Path, name: str) -> Path:
    return quantized.write(folder, {**CONFIGS[name], "vocab_size": 300, "architectures": [name]})


def theirs(folder: Path, name: str, **options: Any) -> Any:
    import transformers

    model, said = getattr(transformers, name).from_pretrained(folder, output_loading_info=True, **options)
    assert not any(said.values()), said
    return model.eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_they_read_ours(tmp_path: Path, name: str) -> None:
    """Every number of the model that transformers makes of the file, and no name too many or too few."""
    from transformers import CompressedTensorsConfig

    folder = written(tmp_path, name)
    model = theirs(folder, name, quantization_config=CompressedTensorsConfig(dequantize=True))
    opened = open_checkpoint(folder)
    expected = {x.tobytes() for x in named(read_model(opened, precision="float32")).values()}
    found = {key: x.numpy() for key, x in model.state_dict().items() if x.dtype.is_floating_point}
    assert {key for key in opened.names if not key.endswith("weight_scale")} <= found.keys()
    for key, x in found.items():
        assert x.dtype == np.float32
        assert np.ascontiguousarray(x).tobytes() in expected, key


def test_they_name_what_they_leave_out(tmp_path: Path) -> None:
    """What the input is multiplied by, and the columns that are kept: nothing of it in silence."""
    import transformers

    name = "DistilBertForSequenceClassification"
    config = {**CONFIGS[name], "vocab_size": 300, "architectures": [name]}
    made = quantized.keeping(quantized.in_int8(quantized.source(tmp_path / "source", config)))
    folder = quantized.write(tmp_path, config, made)
    _, said = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    ours = {key for key in open_checkpoint(folder).names if key.endswith(("input_smooth", "weight_kept"))}
    assert len(ours) == 2 * 2 * 6
    assert set(said["unexpected_keys"]) == ours


@pytest.mark.parametrize("name", ["DistilBertForSequenceClassification", "BertModel", "BertForTokenClassification"])
def test_they_compute_nearly_the_same(tmp_path: Path, name: str) -> None:
    """Inputs become whole numbers by the same rule; where they lie on a border, by another rounding."""
    import torch

    folder = written(tmp_path, name)
    with torch.no_grad():
        expected = theirs(folder, name)(torch.from_numpy(IDS))[0].numpy()
    found = getattr(minidistil, name).from_pretrained(folder, backend="exact")(IDS)[0]
    plain = getattr(minidistil, name).from_pretrained(folder, backend="exact", precision="float32")(IDS)[0]
    differs, without = np.abs(found - expected).mean(), np.abs(plain - expected).mean()
    assert differs < 0.5 * without, "inputs in whole numbers are not those that they make"
    assert differs < 0.01 * np.abs(expected).mean()


@pytest.mark.parametrize("name", ["DistilBertForSequenceClassification", "BertModel"])
def test_we_read_theirs(tmp_path: Path, name: str) -> None:
    """A model that compressed-tensors quantizes, compresses and describes."""
    import torch
    import transformers
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config

    config = {**CONFIGS[name], "vocab_size": 300, "architectures": [name]}
    model = getattr(transformers, name).from_pretrained(synthetic.write_checkpoint(tmp_path / "source", config))
    weights = {"num_bits": 8, "strategy": "channel"}
    inputs = {"num_bits": 8, "strategy": "token", "symmetric": False, "dynamic": True}
    scheme = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    said = QuantizationConfig(config_groups={"all": scheme}, ignore=["classifier"])
    apply_quantization_config(model, said)
    for module in model.modules():
        if hasattr(module, "weight_scale"):
            module.weight_scale.data = module.weight.detach().abs().amax(dim=1, keepdim=True) / 127
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(tmp_path / "theirs")
    compressor.update_config(str(tmp_path / "theirs"))
    found = read_model(open_checkpoint(tmp_path / "theirs"))
    stored = open_checkpoint(tmp_path / "theirs")
    for i, layer in enumerate(found.encoder.layers):
        assert isinstance(layer.lin1, Int8Linear)
        names = "encoder.layer.{}.intermediate.dense", "distilbert.transformer.layer.{}.ffn.lin1"
        at = names["Distil" in name].format(i)
        np.testing.assert_array_equal(layer.lin1.codes, stored.read_stored(f"{at}.weight"))
    assert isinstance(found.encoder.embeddings.word_embeddings, np.ndarray)
    with torch.no_grad():
        expected = model(torch.from_numpy(IDS))[0].numpy()  # which decompresses it
    ours = getattr(minidistil, name).from_pretrained(tmp_path / "theirs", backend="exact")(IDS)[0]
    assert np.abs(ours - expected).mean() < 0.01 * np.abs(expected).mean()
