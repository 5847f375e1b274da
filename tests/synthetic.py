"""Checkpoints from a seeded generator: the weights of every test, golden and benchmark of this project.

Each tensor has a stream of its own, seeded by (seed, crc32 of its name), so that neither the order of drawing
nor the presence of another tensor changes it. Scales are those of trained models: attention that is neither
uniform nor one-hot, LayerNorm gains near one, biases that matter.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np

DISTILBERT_BASE = {
    "model_type": "distilbert",
    "architectures": ["DistilBertForMaskedLM"],
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "n_layers": 6,
    "n_heads": 12,
    "dim": 768,
    "hidden_dim": 3072,
    "activation": "gelu",
    "tie_weights_": True,
    "pad_token_id": 0,
}
DISTILBERT_SMALL = {**DISTILBERT_BASE, "vocab_size": 1200, "n_layers": 2, "n_heads": 4, "dim": 128, "hidden_dim": 400}
BERT_SMALL = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": 1200,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_size": 128,
    "intermediate_size": 400,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}


ROBERTA_SMALL = {
    **BERT_SMALL,
    "model_type": "roberta",
    "architectures": ["RobertaForMaskedLM"],
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
}
ALBERT_SMALL = {
    **BERT_SMALL,
    "model_type": "albert",
    "architectures": ["AlbertForMaskedLM"],
    "embedding_size": 48,
    "num_hidden_layers": 3,
    "num_hidden_groups": 1,
    "inner_group_num": 1,
    "hidden_act": "gelu_new",
}
ELECTRA_SMALL = {
    **BERT_SMALL,
    "model_type": "electra",
    "architectures": ["ElectraForMaskedLM"],
    "embedding_size": 64,
    "hidden_act": "gelu",
}
MOBILEBERT_SMALL = {  # what is 512, 128 and 128 wide in MobileBERT is 128, 64 and 48 here
    **BERT_SMALL,
    "model_type": "mobilebert",
    "architectures": ["MobileBertForMaskedLM"],
    "embedding_size": 48,
    "intra_bottleneck_size": 64,
    "intermediate_size": 200,
    "hidden_act": "relu",
    "trigram_input": True,
    "use_bottleneck": True,
    "use_bottleneck_attention": False,
    "key_query_shared_bottleneck": True,
    "num_feedforward_networks": 3,
    "normalization_type": "no_norm",
    "classifier_activation": True,
}
MOBILEBERT_BASE = {  # google/mobilebert-uncased
    **MOBILEBERT_SMALL,
    "vocab_size": 30522,
    "num_hidden_layers": 24,
    "hidden_size": 512,
    "embedding_size": 128,
    "intra_bottleneck_size": 128,
    "intermediate_size": 512,
    "num_feedforward_networks": 4,
}
TINYBERT_SMALL = {  # two layers of TinyBERT: heads of 26, no multiple of any vector
    **BERT_SMALL,
    "architectures": ["BertForMaskedLM"],
    "hidden_size": 312,
    "num_attention_heads": 12,
    "intermediate_size": 1200,
}


_DECODERS = {
    "distilbert": "vocab_projector",
    "bert": "cls.predictions.decoder",
    "mobilebert": "cls.predictions.decoder",
    "albert": "predictions.decoder",
    "electra": "generator_lm_head",
    **dict.fromkeys(("roberta", "xlm-roberta", "camembert"), "lm_head.decoder"),
}


def tensor_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that transformers saves for this config: the class that `architectures` names."""
    shapes = _shapes(config)
    if _task(config) == "MaskedLM" and not config.get("tie_word_embeddings", True):
        width = config.get("embedding_size", config.get("hidden_size", config.get("dim")))
        _linear(shapes, _DECODERS[config["model_type"]], config["vocab_size"], width)
    return shapes


def _shapes(config: dict) -> dict[str, tuple[int, ...]]:
    if config["model_type"] == "distilbert":
        return _distilbert_shapes(config)
    if config["model_type"] == "albert":
        return _albert_shapes(config)
    if config["model_type"] == "mobilebert":
        return _mobile_bert_shapes(config)
    if config["model_type"] in ("bert", "roberta", "xlm-roberta", "camembert", "electra"):
        return _bert_shapes(config)
    raise ValueError(f"no synthetic weights for model_type {config['model_type']!r}")


def _distilbert_shapes(c: dict) -> dict[str, tuple[int, ...]]:
    D, F, V = c["dim"], c["hidden_dim"], c["vocab_size"]
    task = _task(c)
    prefix = "distilbert." if task else ""
    shapes: dict[str, tuple[int, ...]] = {
        f"{prefix}embeddings.word_embeddings.weight": (V, D),
        f"{prefix}embeddings.position_embeddings.weight": (c["max_position_embeddings"], D),
    }
    _norm(shapes, f"{prefix}embeddings.LayerNorm", D)
    for i in range(c["n_layers"]):
        layer = f"{prefix}transformer.layer.{i}"
        for name in ("q_lin", "k_lin", "v_lin", "out_lin"):
            _linear(shapes, f"{layer}.attention.{name}", D, D)
        _norm(shapes, f"{layer}.sa_layer_norm", D)
        _linear(shapes, f"{layer}.ffn.lin1", F, D)
        _linear(shapes, f"{layer}.ffn.lin2", D, F)
        _norm(shapes, f"{layer}.output_layer_norm", D)
    if task == "MaskedLM":
        _linear(shapes, "vocab_transform", D, D)
        _norm(shapes, "vocab_layer_norm", D)
        shapes["vocab_projector.bias"] = (V,)  # its weight is tied to the word embeddings, and not saved
    elif task in ("SequenceClassification", "MultipleChoice"):
        _linear(shapes, "pre_classifier", D, D)
    _output(shapes, task, "classifier", D, c)
    return shapes


def _bert_shapes(c: dict) -> dict[str, tuple[int, ...]]:
    D, F, V = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    task, kind = _task(c), c["model_type"]
    base = {"bert": "bert.", "electra": "electra."}.get(kind, "roberta.")
    prefix = base if task else ""
    E = c["embedding_size"] if kind == "electra" else D
    shapes = _embeddings(c, prefix, E)
    if E != D:
        _linear(shapes, f"{prefix}embeddings_project", D, E)
    for i in range(c["num_hidden_layers"]):
        layer = f"{prefix}encoder.layer.{i}"
        for name in ("query", "key", "value"):
            _linear(shapes, f"{layer}.attention.self.{name}", D, D)
        _linear(shapes, f"{layer}.attention.output.dense", D, D)
        _norm(shapes, f"{layer}.attention.output.LayerNorm", D)
        _linear(shapes, f"{layer}.intermediate.dense", F, D)
        _linear(shapes, f"{layer}.output.dense", D, F)
        _norm(shapes, f"{layer}.output.LayerNorm", D)
    if task == "MaskedLM" and kind == "bert":
        _linear(shapes, "cls.predictions.transform.dense", D, D)
        _norm(shapes, "cls.predictions.transform.LayerNorm", D)
        shapes["cls.predictions.bias"] = (V,)
    elif task == "MaskedLM" and kind == "electra":
        _linear(shapes, "generator_predictions.dense", E, D)
        _norm(shapes, "generator_predictions.LayerNorm", E)
        shapes["generator_lm_head.bias"] = (V,)
    elif task == "MaskedLM":
        _linear(shapes, "lm_head.dense", D, D)
        _norm(shapes, "lm_head.layer_norm", D)
        shapes["lm_head.bias"] = (V,)
    elif (kind == "bert" and task == "SequenceClassification") or (
        kind != "electra" and task in ("", "MultipleChoice")
    ):
        _linear(shapes, f"{prefix}pooler.dense", D, D)
    elif task == "SequenceClassification":
        _linear(shapes, "classifier.dense", D, D)
    elif task == "MultipleChoice":
        if c.get("summary_use_proj", True):
            _linear(shapes, "sequence_summary.summary", D, D)
    elif task == "PreTraining" and kind == "electra":
        _linear(shapes, "discriminator_predictions.dense", D, D)
        _linear(shapes, "discriminator_predictions.dense_prediction", 1, D)
    last = "classifier.out_proj" if kind != "bert" and task == "SequenceClassification" else "classifier"
    _output(shapes, task, last, D, c)
    return shapes


def _albert_shapes(c: dict) -> dict[str, tuple[int, ...]]:
    D, E, F, V = c["hidden_size"], c["embedding_size"], c["intermediate_size"], c["vocab_size"]
    task = _task(c)
    prefix = "albert." if task else ""
    shapes = _embeddings(c, prefix, E)
    _linear(shapes, f"{prefix}encoder.embedding_hidden_mapping_in", D, E)
    for i in range(c["num_hidden_groups"]):
        for j in range(c["inner_group_num"]):
            layer = f"{prefix}encoder.albert_layer_groups.{i}.albert_layers.{j}"
            for name in ("query", "key", "value", "dense"):
                _linear(shapes, f"{layer}.attention.{name}", D, D)
            _norm(shapes, f"{layer}.attention.LayerNorm", D)
            _linear(shapes, f"{layer}.ffn", F, D)
            _linear(shapes, f"{layer}.ffn_output", D, F)
            _norm(shapes, f"{layer}.full_layer_layer_norm", D)
    if task == "MaskedLM":
        _linear(shapes, "predictions.dense", E, D)
        _norm(shapes, "predictions.LayerNorm", E)
        shapes["predictions.bias"] = (V,)
    elif task in ("", "SequenceClassification", "MultipleChoice"):
        _linear(shapes, f"{prefix}pooler", D, D)
    _output(shapes, task, "classifier", D, c)
    return shapes


def _mobile_bert_shapes(c: dict) -> dict[str, tuple[int, ...]]:
    D, E, F, V = c["hidden_size"], c["embedding_size"], c["intermediate_size"], c["vocab_size"]
    bottleneck, to_input = c["use_bottleneck"], c["use_bottleneck_attention"]
    width = c["intra_bottleneck_size"] if bottleneck else D
    task = _task(c)
    prefix = "mobilebert." if task else ""
    shapes: dict[str, tuple[int, ...]] = {
        f"{prefix}embeddings.word_embeddings.weight": (V, E),
        f"{prefix}embeddings.position_embeddings.weight": (c["max_position_embeddings"], D),
        f"{prefix}embeddings.token_type_embeddings.weight": (c["type_vocab_size"], D),
    }
    _linear(shapes, f"{prefix}embeddings.embedding_transformation", D, 3 * E if c["trigram_input"] else E)
    _norm(shapes, f"{prefix}embeddings.LayerNorm", D)
    for i in range(c["num_hidden_layers"]):
        layer = f"{prefix}encoder.layer.{i}"
        for name in ("query", "key", "value"):
            wide = name == "value" and not to_input
            _linear(shapes, f"{layer}.attention.self.{name}", width, D if wide else width)
        _linear(shapes, f"{layer}.attention.output.dense", width, width)
        _norm(shapes, f"{layer}.attention.output.LayerNorm", width)
        for n in range(c["num_feedforward_networks"]):
            network = layer if n == 0 else f"{layer}.ffn.{n - 1}"
            _linear(shapes, f"{network}.intermediate.dense", F, width)
            _linear(shapes, f"{network}.output.dense", width, F)
            _norm(shapes, f"{network}.output.LayerNorm", width)
        narrow = ["bottleneck.input"] + ["bottleneck.attention"] * c["key_query_shared_bottleneck"]
        for name, out, into in [(n, width, D) for n in narrow * bottleneck] + [
            ("output.bottleneck", D, width)
        ] * bottleneck:
            _linear(shapes, f"{layer}.{name}.dense", out, into)
            _norm(shapes, f"{layer}.{name}.LayerNorm", out)
    if task == "MaskedLM":
        _linear(shapes, "cls.predictions.transform.dense", D, D)
        _norm(shapes, "cls.predictions.transform.LayerNorm", D)
        shapes["cls.predictions.dense.weight"] = (D - E, V)
        shapes["cls.predictions.bias"] = (V,)
    elif task in ("", "SequenceClassification", "MultipleChoice") and c["classifier_activation"]:
        _linear(shapes, f"{prefix}pooler.dense", D, D)
    _output(shapes, task, "classifier", D, c)
    return shapes


def _embeddings(c: dict, prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        f"{prefix}embeddings.word_embeddings.weight": (c["vocab_size"], width),
        f"{prefix}embeddings.position_embeddings.weight": (c["max_position_embeddings"], width),
        f"{prefix}embeddings.token_type_embeddings.weight": (c["type_vocab_size"], width),
    }
    _norm(shapes, f"{prefix}embeddings.LayerNorm", width)
    return shapes


def _task(config: dict) -> str:
    """What the class is for: "" for a bare model."""
    return config["architectures"][0].partition("For")[2]


def _output(shapes: dict, task: str, name: str, width: int, config: dict) -> None:
    """The last product of a head other than the vocabulary's; `name` of a classifier's."""
    labels = len(config["id2label"]) if "id2label" in config else config.get("num_labels", 2)
    if task == "QuestionAnswering":
        _linear(shapes, "qa_outputs", 2, width)
    elif task in ("SequenceClassification", "TokenClassification"):
        _linear(shapes, name, labels, width)
    elif task == "MultipleChoice":
        _linear(shapes, name, 1, width)


def _linear(shapes: dict, name: str, out_features: int, in_features: int) -> None:
    shapes[f"{name}.weight"] = (out_features, in_features)
    shapes[f"{name}.bias"] = (out_features,)


def _norm(shapes: dict, name: str, width: int) -> None:
    shapes[f"{name}.weight"] = (width,)
    shapes[f"{name}.bias"] = (width,)


def tensors(config: dict, seed: int = 0) -> dict[str, np.ndarray]:
    """The float32 tensors of a synthetic checkpoint, by checkpoint name."""
    arrays = {name: _draw(name, shape, seed) for name, shape in tensor_shapes(config).items()}
    if config["model_type"] == "mobilebert":  # without LayerNorms, small numbers stay small, and sums grow
        for name, x in arrays.items():
            if name.endswith("embeddings.weight"):
                x *= np.float32(8)
            elif name.endswith((".output.dense.weight", ".output.bottleneck.dense.weight")):
                x *= np.float32(0.3)
    return arrays


def _draw(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    x = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape, dtype=np.float32)
    if name.endswith("LayerNorm.weight") or name.endswith("layer_norm.weight"):
        return np.float32(1) + np.float32(0.1) * x
    if len(shape) == 1:
        return np.float32(0.1) * x
    if name.endswith("embeddings.weight"):
        return np.float32(0.05) * x
    return np.float32(1.2 / np.sqrt(shape[1])) * x


def write_checkpoint(folder: str | Path, config: dict, seed: int = 0) -> Path:
    """Write config.json and model.safetensors as transformers would; returns the folder."""
    return write_tensors(folder, config, tensors(config, seed))


def write_tensors(folder: str | Path, config: dict, arrays: dict[str, np.ndarray]) -> Path:
    """Write a checkpoint of these tensors; returns the folder."""
    from safetensors.numpy import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
