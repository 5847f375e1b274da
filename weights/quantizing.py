"""From float32 to whole numbers: which scale each row of a weight gets, and what its input is multiplied by before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from minidistil.weights.model_weights import (
    AnyLinear,
    LayerWeights,
    Linear,
    ModelWeights,
    Table,
    is_tied,
    projection,
    whole,
)
from minidistil.weights.narrow import Int8Linear, NarrowTable

GREATEST = 127

VERSION = 1
"""Counted up whenever the same float32 weights become other whole numbers: packed files note which made theirs."""


def quantized(
    weights: ModelWeights, ranges: Mapping[str, np.ndarray] | None = None, keep: Collection[str] = ()
) -> ModelWeights:
    """A model in int8: the products of its encoder and vocabulary, and its tables of embeddings.

    Args:
        weights: float32.
        ranges: of the input of a product, by its name as it is packed, the greatest magnitude in each column: float32
            [K]; None for what follows from the weights.
        keep: names of products, or beginnings of them, that stay float32.
    """
    layers: list[Any] = []
    for layer in weights.encoder.layers:
        assert isinstance(layer, LayerWeights)
        names = ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2")
        products: Any = {name: quantize_linear(getattr(layer, name)) for name in names}
        layers.append(replace(layer, **products))
    embeddings: Any = weights.encoder.embeddings
    tables = ("word_embeddings", "position_embeddings", "token_type_embeddings")
    narrow = {name: quantize_table(table) for name in tables if (table := getattr(embeddings, name)) is not None}
    encoder = replace(weights.encoder, embeddings=replace(embeddings, **narrow), layers=tuple(layers))
    head = weights.masked_lm
    if head is not None:
        tied = is_tied(head.vocab_projector, embeddings.word_embeddings)
        made = projection(narrow["word_embeddings"], head) if tied else quantize_linear(head.vocab_projector)
        head = replace(head, vocab_transform=quantize_linear(head.vocab_transform), vocab_projector=made)
    return replace(weights, encoder=encoder, masked_lm=head)


def quantize_linear(w: AnyLinear) -> Int8Linear:
    """Whole numbers of a product's weight, with a scale for each of its N rows."""
    assert isinstance(w, Linear)
    codes, scale = _rows(w.weight)
    return Int8Linear(codes, scale, w.bias)


def quantize_table(table: Table) -> NarrowTable:
    """Whole numbers of a table, with a scale for each row."""
    return NarrowTable(*_rows(whole(table)))


def _rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    most = np.abs(x).max(axis=1)
    scale = np.where(most > 0, most / np.float32(GREATEST), np.float32(1))
    return np.rint(x / scale[:, None]).astype(np.int8), scale
