"""The parameters of a model by their canonical names: what `read_model` puts together, taken apart again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minidistil.weights.families import Family
from minidistil.weights.model_weights import (
    TABLES,
    AnyLinear,
    ClassifierWeights,
    EmbeddingWeights,
    LayerWeights,
    MobileLayerWeights,
    ModelWeights,
    NoNorm,
    Norm,
    Normalized,
    Table,
    whole,
)
from minidistil.weights.narrow import NarrowTable

Part = AnyLinear | Norm | NoNorm | Table

_CLASSIFIERS = ("sequence_classification", "multiple_choice", "discriminator")
_OUTPUTS = ("token_classification", "question_answering")
_LAYER = ("q_lin", "k_lin", "v_lin", "out_lin", "sa_layer_norm", "lin1", "lin2", "output_layer_norm")


def named(weights: ModelWeights) -> dict[str, np.ndarray]:
    """Canonical parameter (`layers.0.q_lin.weight`) -> its array itself, in the order of the forward pass.

    What stands twice does so here: a tied projection is the word embeddings' array, a layer that is applied again has
    each of its numbers. MobileBERT's parts have other names, and are not taken apart.

    Raises:
        ValueError: weights of MobileBERT.
    """
    if not isinstance(weights.encoder.embeddings, EmbeddingWeights):
        raise ValueError("the parts of a MobileBERT have no canonical names here")
    arrays: dict[str, np.ndarray] = {}
    for module, part in modules(weights):
        if isinstance(part, (np.ndarray, NarrowTable)):
            arrays[f"{module}.weight"] = whole(part)
        else:
            arrays |= {f"{module}.weight": part.weight, f"{module}.bias": part.bias}
    return arrays


def sized(family: Family, parameter: str) -> tuple[str, ...]:
    """The numbers of the configuration that give a canonical parameter its shape."""
    module, _, kind = parameter.rpartition(".")
    if module.startswith("layers."):
        module = f"layers.{{i}}.{module.split('.', 2)[2]}"
    names = family.parameters(module)[kind]
    if "embedding_size" in family.keys:
        return names
    return tuple("dim" if name == "embedding_size" else name for name in names)


def size_of(number: str, values: Mapping[str, Any]) -> int | None:
    """What a number of a shape is: a numeral, a value of config.json (None where that is faulty), or of two of them."""
    if " " not in number:
        return int(number) if number.isdecimal() else values.get(number)
    one, sign, other = number.split()
    first, second = size_of(one, values), size_of(other, values)
    if first is None or second is None:
        return None
    return first * second if sign == "*" else first - second


def modules(weights: ModelWeights) -> Iterator[tuple[str, Part]]:
    """Every canonical module (`layers.0.q_lin`) and its part itself, in the order of the forward pass, of all families.

    What stands twice does so here: a tied projection, a layer that is applied again has each of its numbers.
    """
    embeddings = weights.encoder.embeddings
    for table in TABLES:
        yield from _there(f"embeddings.{table}", getattr(embeddings, table))
    yield "embeddings.layer_norm", embeddings.layer_norm
    yield from _there("embeddings.projection", embeddings.projection)
    for i, layer in enumerate(weights.encoder.layers):
        for name, part in _layer(layer) if isinstance(layer, LayerWeights) else _mobile_layer(layer):
            yield f"layers.{i}.{name}", part
    yield from _there("pooler", weights.pooler)
    if weights.masked_lm is not None:
        for module in ("vocab_transform", "vocab_layer_norm", "vocab_projector", "extension"):
            yield from _there(f"masked_lm.{module}", getattr(weights.masked_lm, module))
    for head in _CLASSIFIERS:
        classifier: ClassifierWeights | None = getattr(weights, head)
        if classifier is not None:
            yield from _there(f"{head}.dense", classifier.dense)
            yield f"{head}.output", classifier.output
    for head in _OUTPUTS:
        yield from _there(f"{head}.output", getattr(weights, head))


def _layer(layer: LayerWeights) -> Iterator[tuple[str, Part]]:
    for module in _LAYER:
        yield module, getattr(layer, module)


def _mobile_layer(layer: MobileLayerWeights) -> Iterator[tuple[str, Part]]:
    yield from _normalized("input_bottleneck", layer.input_bottleneck)
    yield from _normalized("attention_bottleneck", layer.attention_bottleneck)
    for module in _LAYER[:5]:
        yield module, getattr(layer, module)
    for n, network in enumerate(layer.feed_forwards):
        for module in ("lin1", "lin2", "norm"):
            yield f"feed_forwards.{n}.{module}", getattr(network, module)
    yield from _normalized("output_bottleneck", layer.output_bottleneck)


def _normalized(name: str, part: Normalized | None) -> Iterator[tuple[str, Part]]:
    if part is not None:
        yield name, part.linear
        yield f"{name}_norm", part.norm


def _there(module: str, part: Part | None) -> Iterator[tuple[str, Part]]:
    if part is not None:
        yield module, part
