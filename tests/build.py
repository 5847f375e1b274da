"""Weights and batches for tests of the backends, straight from seeded generators: no file in between."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.backends.engine.passes import Limits
from minidistil.weights import open_checkpoint, read_model
from minidistil.weights.config import Config
from minidistil.weights.model_weights import (
    EmbeddingWeights,
    EncoderWeights,
    LayerWeights,
    Linear,
    MaskedLMWeights,
    ModelWeights,
    Norm,
)
from tests import synthetic

# Field of LayerWeights -> its name in the checkpoint.
_LAYERS = {
    "distilbert": {
        "q_lin": "attention.q_lin",
        "k_lin": "attention.k_lin",
        "v_lin": "attention.v_lin",
        "out_lin": "attention.out_lin",
        "sa_layer_norm": "sa_layer_norm",
        "lin1": "ffn.lin1",
        "lin2": "ffn.lin2",
        "output_layer_norm": "output_layer_norm",
    },
    "bert": {
        "q_lin": "attention.self.query",
        "k_lin": "attention.self.key",
        "v_lin": "attention.self.value",
        "out_lin": "attention.output.dense",
        "sa_layer_norm": "attention.output.LayerNorm",
        "lin1": "intermediate.dense",
        "lin2": "output.dense",
        "output_layer_norm": "output.LayerNorm",
    },
}


def limits(threads: int, tokens: int, apart: bool) -> Limits:
    """Passes of so many tokens at most; by single threads wherever there are enough sentences, or by all together."""
    return Limits(threads, tokens, tokens, 1 if apart else 1 << 40)


def config(values: dict) -> Config:
    """The configuration of a model, from a config.json's values."""
    return Config.from_dict(values)


def model_weights(values: dict, seed: int = 0, tensors: dict[str, np.ndarray] | None = None) -> ModelWeights:
    """The weights of a config.json's model: `tensors` by checkpoint name, or synthetic ones.

    Bare BERT and DistilBERT are put together here, without the reader of checkpoints; the others by it.
    """
    tensors = synthetic.tensors(values, seed) if tensors is None else tensors
    if values["model_type"] not in _LAYERS or values["architectures"] == ["BertForMaskedLM"]:
        with tempfile.TemporaryDirectory() as folder:
            return read_model(open_checkpoint(synthetic.write_tensors(folder, values, tensors)))
    bert = values["model_type"] == "bert"
    eps = values["layer_norm_eps"] if bert else 1e-12
    base = next(name for name in tensors if name.endswith("embeddings.word_embeddings.weight"))
    base = base.removesuffix("embeddings.word_embeddings.weight")
    stack = f"{base}encoder.layer" if bert else f"{base}transformer.layer"

    def linear(name: str) -> Linear:
        return Linear(tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def norm(name: str) -> Norm:
        return Norm(tensors[f"{name}.weight"], tensors[f"{name}.bias"], eps)

    def layer(i: int) -> LayerWeights:
        names = _LAYERS[values["model_type"]].items()
        return LayerWeights(**{k: (norm if "norm" in k else linear)(f"{stack}.{i}.{v}") for k, v in names})

    words = tensors[f"{base}embeddings.word_embeddings.weight"]
    embeddings = EmbeddingWeights(
        words,
        tensors[f"{base}embeddings.position_embeddings.weight"],
        tensors.get(f"{base}embeddings.token_type_embeddings.weight"),
        norm(f"{base}embeddings.LayerNorm"),
    )
    layers = values["num_hidden_layers"] if bert else values["n_layers"]
    head = None
    if "vocab_transform.weight" in tensors:
        projector = Linear(tensors.get("vocab_projector.weight", words), tensors["vocab_projector.bias"])
        activation = values["activation"]
        head = MaskedLMWeights(linear("vocab_transform"), norm("vocab_layer_norm"), projector, activation)
    pooler = linear(f"{base}pooler.dense") if f"{base}pooler.dense.weight" in tensors else None
    return ModelWeights(EncoderWeights(embeddings, tuple(layer(i) for i in range(layers))), head, pooler)


def batch(
    sentences: Sequence[np.ndarray],
    token_types: Sequence[np.ndarray] | None = None,
    attention_bias: np.ndarray | None = None,
    positions: Sequence[np.ndarray] | None = None,
) -> PackedBatch:
    """Pack sentences of token ids, each at positions 0, 1, ... where none are given."""
    lengths = [len(s) for s in sentences]
    return PackedBatch(
        input_ids=np.concatenate(sentences).astype(np.int32),
        position_ids=np.concatenate(positions or [np.arange(n) for n in lengths]).astype(np.int32),
        token_type_ids=None if token_types is None else np.concatenate(token_types).astype(np.int32),
        inputs_embeds=None,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        attention_bias=attention_bias,
    )
