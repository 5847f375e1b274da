"""Checked arrays by their canonical names, put together to a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from minidistil.weights import _mobile_bert, config_values
from minidistil.weights.families import Family
from minidistil.weights.model_weights import (
    AnyLinear,
    ClassifierWeights,
    EmbeddingWeights,
    EncoderWeights,
    LayerWeights,
    Linear,
    MaskedLMWeights,
    MobileEmbeddingWeights,
    ModelWeights,
    NoNorm,
    Norm,
    Table,
)
from minidistil.weights.narrow import BFloat16Linear, Int8Linear
from minidistil.weights.quantized_tensors import KEPT, SMOOTH


def assemble(
    arrays: Mapping[str, Table], values: Mapping[str, Any], parts: Collection[str], family: Family
) -> ModelWeights:
    """Put a model together.

    Args:
        arrays: canonical parameter (`layers.0.q_lin.weight`) -> float32, or for a narrow weight a table of codes; with
            `layers.0.q_lin.input_smooth` for what an input is multiplied by, and `.weight_kept` of columns in float32.
        values: of config.json.
        parts: heads, beside the encoder.
        family: whose tables say what there is.
    """

    def whole(parameter: str) -> np.ndarray:
        array = arrays[parameter]
        assert isinstance(array, np.ndarray)
        return array

    def linear(module: str) -> AnyLinear:
        weight, bias = arrays[f"{module}.weight"], whole(f"{module}.bias")
        if isinstance(weight, np.ndarray):
            return Linear(weight, bias)
        if weight.scale is None:
            return BFloat16Linear(weight.codes, bias)
        beside = (f"{module}.{kind}" for kind in (SMOOTH, KEPT))
        smooth, kept = (whole(name) if name in arrays else None for name in beside)
        return Int8Linear(weight.codes, weight.scale, bias, smooth, kept)

    def plain(module: str) -> Linear:
        return Linear(whole(f"{module}.weight"), whole(f"{module}.bias"))

    def norm(module: str) -> Norm:
        return Norm(whole(f"{module}.weight"), whole(f"{module}.bias"), values["layer_norm_eps"])

    def mobile_norm(module: str) -> Norm | NoNorm:
        weight, bias = whole(f"{module}.weight"), whole(f"{module}.bias")
        if values["normalization"] == "no_norm":
            return NoNorm(weight, bias)
        return Norm(weight, bias, _mobile_bert.epsilon(values, module))

    def layer(i: int) -> LayerWeights:
        at = f"layers.{i}"
        return family.layer(
            q_lin=linear(f"{at}.q_lin"),
            k_lin=linear(f"{at}.k_lin"),
            v_lin=linear(f"{at}.v_lin"),
            out_lin=linear(f"{at}.out_lin"),
            sa_layer_norm=norm(f"{at}.sa_layer_norm"),
            lin1=linear(f"{at}.lin1"),
            lin2=linear(f"{at}.lin2"),
            output_layer_norm=norm(f"{at}.output_layer_norm"),
        )

    def activation(head: str) -> str:
        name = family.head_activations[head]
        return values[name] if name in family.keys else name

    def classifier(head: str) -> ClassifierWeights | None:
        if head not in parts:
            return None
        dense = plain(f"{head}.dense") if f"{head}.dense" in family.modules else None
        between = activation(head) if dense or f"{head}.dense" in family.optional else "linear"
        return ClassifierWeights(dense, between or "linear", plain(f"{head}.output"))

    def output(head: str) -> Linear | None:
        return plain(f"{head}.output") if head in parts else None

    def mobile_encoder() -> EncoderWeights:
        projected = _mobile_bert.projects(values)
        embeddings = MobileEmbeddingWeights(
            arrays["embeddings.word_embeddings.weight"],
            arrays["embeddings.position_embeddings.weight"],
            arrays["embeddings.token_type_embeddings.weight"],
            mobile_norm("embeddings.layer_norm"),
            linear("embeddings.projection") if projected else None,
            values["trigrams"],
        )
        layers = (_mobile_bert.layer(values, i, linear, mobile_norm) for i in range(values["n_layers"]))
        return EncoderWeights(embeddings, tuple(layers))

    def encoder() -> EncoderWeights:
        embeddings = EmbeddingWeights(
            arrays["embeddings.word_embeddings.weight"],
            arrays["embeddings.position_embeddings.weight"],
            arrays.get("embeddings.token_type_embeddings.weight"),
            norm("embeddings.layer_norm"),
            linear("embeddings.projection") if "embeddings.projection.weight" in arrays else None,
        )
        stored = [layer(i) for i in range(config_values.stored_layers(values) or 0)]
        return EncoderWeights(embeddings, tuple(stored[i] for i in config_values.layer_order(values)))

    masked_lm = None
    if "masked_lm" in parts:
        extended = "masked_lm.extension.weight" in arrays
        transform, projector = linear("masked_lm.vocab_transform"), linear("masked_lm.vocab_projector")
        masked_lm = MaskedLMWeights(
            transform,
            norm("masked_lm.vocab_layer_norm"),
            Linear(projector.weight, projector.bias) if extended else projector,  # itself where it is float32
            activation("masked_lm"),
            whole("masked_lm.extension.weight") if extended else None,
        )
    return ModelWeights(
        mobile_encoder() if family.variant else encoder(),
        masked_lm=masked_lm,
        pooler=plain("pooler") if "pooler" in parts else None,
        sequence_classification=classifier("sequence_classification"),
        multiple_choice=classifier("multiple_choice"),
        discriminator=classifier("discriminator"),
        token_classification=output("token_classification"),
        question_answering=output("question_answering"),
    )
