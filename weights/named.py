"""The parameters of a model by their canonical names: what `read_model` puts together, taken apart again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minidistil.weights.families import Family
from minidistil.weights.model_weights import (
    AnyLinear,
    ClassifierWeights,
    EmbeddingWeights,
    LayerWeights,
    ModelWeights,
    NoNorm,
    Norm,
    whole,
)

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
    return dict(_parameters(weights))


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


def _parameters(weights: ModelWeights) -> Iterator[tuple[str, np.ndarray]]:
    embeddings = weights.encoder.embeddings
    if not isinstance(embeddings, EmbeddingWeights):
        raise ValueError("the parts of a MobileBERT have no canonical names here")
    for table in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        if (array := getattr(embeddings, table)) is not None:
            yield f"embeddings.{table}.weight", whole(array)
    yield from _of("embeddings.layer_norm", embeddings.layer_norm)
    yield from _of("embeddings.projection", embeddings.projection)
    for i, layer in enumerate(weights.encoder.layers):
        if not isinstance(layer, LayerWeights):
            raise ValueError("the parts of a MobileBERT have no canonical names here")
        for module in _LAYER:
            yield from _of(f"layers.{i}.{module}", getattr(layer, module))
    yield from _of("pooler", weights.pooler)
    if weights.masked_lm is not None:
        for module in ("vocab_transform", "vocab_layer_norm", "vocab_projector"):
            yield from _of(f"masked_lm.{module}", getattr(weights.masked_lm, module))
    for head in _CLASSIFIERS:
        classifier: ClassifierWeights | None = getattr(weights, head)
        if classifier is not None:
            yield from _of(f"{head}.dense", classifier.dense)
            yield from _of(f"{head}.output", classifier.output)
    for head in _OUTPUTS:
        yield from _of(f"{head}.output", getattr(weights, head))


def _of(module: str, part: AnyLinear | Norm | NoNorm | None) -> Iterator[tuple[str, np.ndarray]]:
    if part is not None:
        yield f"{module}.weight", part.weight
        yield f"{module}.bias", part.bias
