"""Sentence-transformers folders with modules of random weights, as sentence-transformers would save them."""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.synthetic import BERT_SMALL, DISTILBERT_SMALL, write_checkpoint
from tests.synthetic_tokenizer import write_tokenizer


def tensor(name: str, *shape: int) -> np.ndarray:
    """float32 values of a seeded generator, by name; near 1 for a norm's gains, positive for weights of layers."""
    x = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, dtype=np.float32)
    if name.endswith("norm.weight"):
        return 1 + np.float32(0.1) * x
    if name.endswith("layer_weights"):
        return np.abs(x) + np.float32(0.1)
    return x * np.float32(1 / np.sqrt(shape[-1]) if len(shape) > 1 else 0.1)


def dense(inputs: int, outputs: int, activation: str = "torch.nn.modules.activation.Tanh", **more: Any) -> tuple:
    """A Dense module: kind, config.json, tensors."""
    config = {"in_features": inputs, "out_features": outputs, "bias": True, "activation_function": activation, **more}
    tensors = {"linear.weight": tensor(f"{outputs}.linear.weight", outputs, inputs)}
    if config["bias"]:
        tensors["linear.bias"] = tensor(f"{outputs}.linear.bias", outputs)
    if config.get("use_residual") and inputs != outputs:
        tensors["residual.weight"] = tensor(f"{outputs}.residual.weight", outputs, inputs)
    return "Dense", config, tensors


def layer_norm(width: int) -> tuple:
    """A LayerNorm module."""
    tensors = {name: tensor(name, width) for name in ("norm.weight", "norm.bias")}
    return "LayerNorm", {"dimension": width}, tensors


def weighted_layers(width: int, layers: int, start: int) -> tuple:
    """A WeightedLayerPooling module."""
    config = {"word_embedding_dimension": width, "layer_start": start, "num_hidden_layers": layers}
    return "WeightedLayerPooling", config, {"layer_weights": tensor("layer_weights", layers + 1 - start)}


def pooling(*modes: str, width: int = 128) -> tuple:
    """A Pooling module."""
    return "Pooling", {"word_embedding_dimension": width, "pooling_mode": list(modes)}, {}


NORMALIZE: tuple = ("Normalize", {}, {})
DROPOUT: tuple = ("Dropout", {"dropout": 0.3}, {})


def write_encoder(folder: Path) -> Path:
    """Write a 2-layer BERT, 128 wide, that takes 64 tokens; returns the folder."""
    write_checkpoint(folder, BERT_SMALL, seed=1)
    write_tokenizer(folder, BERT_SMALL["vocab_size"], token_types=True)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 64, "do_lower_case": False}))
    return folder


def write_reranker(folder: Path, name: str) -> Path:
    """Write a cross-encoder, one of RERANKERS; returns the folder."""
    base, more = RERANKERS[name]
    labels = more.get("num_labels", 1)
    head = {"distilbert": "DistilBertForSequenceClassification"}.get(
        base["model_type"], "BertForSequenceClassification"
    )
    config = {**base, "architectures": [head], "id2label": {str(i): f"LABEL_{i}" for i in range(labels)}}
    write_checkpoint(folder, {**config, **{k: v for k, v in more.items() if k != "num_labels"}}, seed=2)
    return write_tokenizer(folder, base["vocab_size"], token_types=base["model_type"] == "bert")


def write_model(folder: Path, encoder: Path, *modules: tuple, all_layers: bool = False) -> Path:
    """Write a folder with an encoder's files and these modules after it; returns it."""
    shutil.copytree(encoder, folder, ignore=shutil.ignore_patterns("modules.json", "[0-9]_*"))
    if all_layers:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "output_hidden_states": True}))
    lines = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for i, (kind, config, tensors) in enumerate(modules, 1):
        own = folder / f"{i}_{kind}"
        own.mkdir()
        (own / "config.json").write_text(json.dumps(config))
        if tensors:
            save_file(tensors, own / "model.safetensors")
        lines.append({"idx": i, "name": str(i), "path": own.name, "type": f"sentence_transformers.models.{kind}"})
    (folder / "modules.json").write_text(json.dumps(lines))
    return folder


_IDENTITY = "torch.nn.modules.linear.Identity"
# Family, and what else config.json says.
RERANKERS: dict[str, tuple[dict, dict]] = {
    "one label": (BERT_SMALL, {}),
    "identity": (BERT_SMALL, {"sentence_transformers": {"activation_fn": _IDENTITY, "version": "5.0.0"}}),
    "identity, before 4.0": (BERT_SMALL, {"sbert_ce_default_activation_function": _IDENTITY}),
    "three labels": (BERT_SMALL, {"num_labels": 3}),
    "distilbert": (DISTILBERT_SMALL, {}),
}

# What is compared with sentence-transformers: modules after an encoder 128 wide of 2 layers, and whether all its layers
# are handed on.
MODELS: dict[str, tuple[tuple, ...]] = {
    "cls": (pooling("cls"),),
    "max": (pooling("max"),),
    "mean": (pooling("mean"), NORMALIZE),
    "mean_sqrt_len_tokens": (pooling("mean_sqrt_len_tokens"),),
    "weightedmean": (pooling("weightedmean"),),
    "lasttoken": (pooling("lasttoken"),),
    "all modes": (pooling("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"), NORMALIZE),
    "another order": (pooling("lasttoken", "cls"),),
    "dense": (pooling("mean"), dense(128, 40)),
    "dense, no bias, identity": (
        pooling("mean"),
        dense(128, 64, "torch.nn.modules.linear.Identity", bias=False),
        NORMALIZE,
    ),
    "dense twice": (
        pooling("mean", "max"),
        DROPOUT,
        dense(256, 96, "torch.nn.modules.activation.ReLU"),
        dense(96, 33, "torch.nn.modules.activation.GELU"),
        NORMALIZE,
    ),
    "residuals": (
        pooling("cls"),
        dense(128, 128, "torch.nn.modules.activation.Sigmoid", use_residual=True),
        dense(128, 48, "torch.nn.modules.activation.SiLU", use_residual=True),
    ),
    "layer norm": (pooling("mean"), layer_norm(128), dense(128, 24), NORMALIZE),
    "dense over tokens": (dense(128, 56, module_input_name="token_embeddings"), pooling("mean", width=56), NORMALIZE),
    "layers": (weighted_layers(128, 2, 1), pooling("mean")),
    "layers not handed on": (weighted_layers(128, 2, 1), pooling("mean")),
}
HANDS_ON_ALL_LAYERS = {"layers"}
