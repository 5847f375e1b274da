"""The zoo's checkpoints: weights in every form in which they lie on disk, configurations in every dialect.

Each row is a small model; transformers reads it to the same hidden states (recorded.json), or the row has our refusal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.heads import FAMILIES
from tests.synthetic import tensors
from tests.weights.files import bfloat16, old_torch_bytes, safetensors_bytes, torch_bytes

Arrays = dict[str, np.ndarray]
IDS = np.random.default_rng(8).integers(5, 200, (2, 6))
_SMALLER = {"vocab_size": 200, "max_position_embeddings": 40}


@dataclass(frozen=True)
class Stored:
    """One folder with a model.

    Attributes:
        family: a key of FAMILIES.
        config: what config.json says otherwise than the family's small one; None takes a key away.
        change: what is done to the tensors before they are written.
        write: files by name, of the tensors.
        options: of from_pretrained.
        error: what our refusal says, a regular expression; None where hidden states are transformers'.
        like: the row whose hidden states it has, where transformers does not read it.
        architecture: how the class ends that config.json names.
    """

    family: str = "Bert"
    config: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[Arrays], Arrays] = dict
    write: Callable[[Arrays], dict[str, bytes]] = lambda arrays: {"model.safetensors": safetensors_bytes(arrays)}
    options: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    like: str | None = None
    architecture: str = "Model"


def write(folder: Path, row: Stored) -> Path:
    """Write a row's files; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    base = {**FAMILIES[row.family], **_SMALLER, "architectures": [f"{row.family}{row.architecture}"]}
    config = {name: value for name, value in {**base, **row.config}.items() if value is not REMOVED}
    (folder / "config.json").write_text(json.dumps(config))
    for name, content in row.write(row.change(tensors(base, seed=4))).items():
        (folder / name).write_bytes(content)
    return folder


def answer(hidden: Any) -> list[float]:
    """Hidden states [2, 6, D] in a few numbers: some of them, and how large all are."""
    x = np.asarray(hidden, np.float64)
    some = [*x[0, 0, :3], *x[1, -1, -3:], np.abs(x).mean(), x.std()]
    return [round(float(value), 6) for value in some]


REMOVED = object()


def _old_names(arrays: Arrays) -> Arrays:
    norm = {".weight": ".gamma", ".bias": ".beta"}

    def old(name: str) -> str:
        stem, dot, kind = name.rpartition(".")
        return stem + norm[dot + kind] if "LayerNorm" in name else name

    return {old(name): x for name, x in arrays.items()}


def _prefixed(prefix: str) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {f"{prefix}{name}": x for name, x in arrays.items()}


def _and(**more: np.ndarray) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {**arrays, **{name.replace("__", "."): x for name, x in more.items()}}


def _as(dtype: Any) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {name: x.astype(dtype) for name, x in arrays.items()}


def _sharded(ending: str, to_bytes: Callable[[Arrays], bytes], word: str = "") -> Callable[[Arrays], dict[str, bytes]]:
    def files(arrays: Arrays) -> dict[str, bytes]:
        stem = "model" if ending == "safetensors" else "pytorch_model"
        names = {name: f"{stem}{word}-0000{i % 2 + 1}-of-00002.{ending}" for i, name in enumerate(arrays)}
        shards = {
            shard: to_bytes({name: x for name, x in arrays.items() if names[name] == shard})
            for shard in sorted(set(names.values()))
        }
        index = {"metadata": {}, "weight_map": names}
        return {**shards, f"{stem}.{ending}.index{word}.json": json.dumps(index).encode()}

    return files


def _torch(arrays: Arrays) -> dict[str, bytes]:
    return {"pytorch_model.bin": torch_bytes(arrays)}


def _old_torch(arrays: Arrays) -> dict[str, bytes]:
    return {"pytorch_model.bin": old_torch_bytes(arrays)}


def _named(name: str) -> Callable[[Arrays], dict[str, bytes]]:
    return lambda arrays: {name: safetensors_bytes(arrays)}


def _raw(name: str, content: bytes) -> Callable[[Arrays], dict[str, bytes]]:
    return lambda arrays: {name: content}


ROWS: dict[str, Stored] = {
    **{f"{family}, as saved now": Stored(family) for family in FAMILIES},
    **{f"{family}, pytorch_model.bin": Stored(family, write=_torch) for family in FAMILIES},
    **{
        f"{family}, before PyTorch 1.6": Stored(family, write=_old_torch) for family in ("Bert", "DistilBert", "Albert")
    },
    "with the prefix of a head's": Stored(change=_prefixed("bert.")),
    "masked-LM, read bare": Stored("DistilBert", architecture="ForMaskedLM"),
    "RoBERTa's masked-LM, read bare": Stored("Roberta", architecture="ForMaskedLM"),
    "sequence classification, read bare": Stored("Electra", architecture="ForSequenceClassification"),
    "names of TensorFlow's conversions": Stored(change=_old_names, write=_torch),
    "position_ids of older versions": Stored(change=_and(embeddings__position_ids=np.arange(40)[None])),
    "float16": Stored(change=_as(np.float16), config={"torch_dtype": "float16"}, options={"dtype": "float32"}),
    "bfloat16": Stored(
        change=lambda arrays: {name: bfloat16(x) for name, x in arrays.items()},
        config={"dtype": "bfloat16"},
        options={"dtype": "float32"},
    ),
    "float16, pytorch_model.bin": Stored(change=_as(np.float16), write=_torch, options={"dtype": "float32"}),
    "shards": Stored(write=_sharded("safetensors", safetensors_bytes)),
    "shards, pytorch_model": Stored("Roberta", write=_sharded("bin", torch_bytes)),
    "shards before PyTorch 1.6": Stored("Roberta", write=_sharded("bin", old_torch_bytes)),
    "fp16 variant": Stored(write=_named("model.fp16.safetensors"), options={"variant": "fp16"}),
    "fp16 variant in shards": Stored(
        write=_sharded("safetensors", safetensors_bytes, ".fp16"), options={"variant": "fp16"}
    ),
    "both formats": Stored(write=lambda arrays: {**_torch({}), "model.safetensors": safetensors_bytes(arrays)}),
    "metadata of PyTorch": Stored(
        write=lambda arrays: {"model.safetensors": safetensors_bytes(arrays, metadata={"format": "pt"})}
    ),
    # Configurations.
    "no architectures": Stored(config={"architectures": REMOVED}),
    "DistilBERT by BERT's names": Stored(
        "DistilBert",
        config={
            "dim": REMOVED,
            "hidden_size": 128,
            "n_layers": REMOVED,
            "num_hidden_layers": 2,
            "n_heads": REMOVED,
            "num_attention_heads": 4,
        },
    ),
    "relu": Stored(config={"hidden_act": "relu"}),
    "leaky_relu": Stored(config={"hidden_act": "leaky_relu"}),
    "hardswish": Stored("DistilBert", config={"activation": "hardswish"}),
    "gelu_python": Stored(config={"hidden_act": "gelu_python"}),
    "gelu_new": Stored("Roberta", config={"hidden_act": "gelu_new"}),
    "another epsilon": Stored(config={"layer_norm_eps": 1e-5}),
    "an epsilon that DistilBERT does not read": Stored("DistilBert", config={"layer_norm_eps": 0.1}),
    "padding id -1": Stored(config={"pad_token_id": -1}),
    "RoBERTa, padding id -1": Stored("Roberta", config={"pad_token_id": -1}),
    "RoBERTa, padding id 0": Stored("Roberta", config={"pad_token_id": 0}),
    "padding id null": Stored(config={"pad_token_id": None}),
    "labels with gaps": Stored(config={"id2label": {"0": "a", "2": "b"}, "label2id": {"a": 0, "b": 2}}),
    "what training left": Stored(
        config={
            "gradient_checkpointing": False,
            "use_cache": True,
            "classifier_dropout": None,
            "_name_or_path": "x",
            "transformers_version": "4.6.0",
            "problem_type": "multi_label_classification",
            "finetuning_task": "mrpc",
            "position_embedding_type": "absolute",
            "directionality": "bidi",
            "pooler_type": "first_token_transform",
        }
    ),
    "TinyBERT's and others' keys": Stored(config={"cell": {}, "emb_size": 312, "structure": [], "pre_trained": ""}),
    "ELECTRA's summaries": Stored("Electra", config={"summary_type": "first", "summary_last_dropout": 0.1}),
    "ALBERT with groups": Stored("Albert", config={"num_hidden_layers": 4, "down_scale_factor": 1, "gap_size": 0}),
    "labels that are numbers": Stored(config={"id2label": {"0": 0, "1": 1}}, like="Bert, as saved now"),
    # Refused.
    "relative positions": Stored(
        config={"position_embedding_type": "relative_key"},
        error="position_embedding_type = relative_key is not supported; expected absolute",
    ),
    "a decoder": Stored(config={"is_decoder": True}, error="is_decoder = True is not supported; expected False"),
    "another family": Stored(config={"model_type": "deberta-v2"}, error="model_type deberta-v2 is not supported"),
    "no model_type": Stored(config={"model_type": REMOVED}, error="has no model_type"),
    "an activation of nobody": Stored(
        config={"hidden_act": "laplace"}, error="hidden_act = laplace is unknown; known are"
    ),
    "more layers than tensors": Stored(
        config={"num_hidden_layers": 3}, error="num_hidden_layers = 3, but the tensors say 2"
    ),
    "another width": Stored(config={"hidden_size": 256}, error="hidden_size = 256, but the tensors say 128"),
    "a tensor less": Stored(
        change=lambda arrays: dict(list(arrays.items())[1:]), error=r"missing tensors \(1\): embeddings\."
    ),
    "TensorFlow's alone": Stored(write=_raw("tf_model.h5", b"x"), error="tf_model.h5 is there, which is not read"),
    "Flax's alone": Stored(
        write=_raw("flax_model.msgpack", b"x"), error="flax_model.msgpack is there, which is not read"
    ),
    "a variant that nobody asked for": Stored(
        write=_named("model.fp16.safetensors"), error='model.fp16.safetensors is there: variant="fp16" reads it'
    ),
    "Git LFS": Stored(
        write=_raw("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n"), error="is a Git LFS pointer"
    ),
    "nothing downloaded": Stored(write=_raw("model.safetensors", b""), error="is empty: the download or copy"),
    "half downloaded": Stored(
        write=lambda arrays: {"model.safetensors": safetensors_bytes(arrays)[:-1000]}, error="truncated"
    ),
    "half downloaded, before PyTorch 1.6": Stored(
        write=lambda arrays: {"pytorch_model.bin": old_torch_bytes(arrays)[:-1000]}, error="is truncated: storage"
    ),
    "a shard less": Stored(
        write=lambda arrays: dict(list(_sharded("safetensors", safetensors_bytes)(arrays).items())[1:]),
        error="shard model-00001-of-00002.safetensors is absent",
    ),
    "quantized": Stored(
        change=lambda arrays: {
            name: x.astype(np.int8) if name.endswith("query.weight") else x for name, x in arrays.items()
        },
        error=r"stored as I8, and config\.json has no quantization_config .*query\.weight",
    ),
    "not a number": Stored(
        change=lambda arrays: {**arrays, "pooler.dense.bias": np.full(128, np.nan, np.float32)},
        error=r"NaN or infinity in 1 tensors: pooler\.dense\.bias",
    ),
}
