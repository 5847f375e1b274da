"""A model in another precision than its file has."""

from __future__ import annotations

import numpy as np

from minidistil.weights._storage import release_pages
from minidistil.weights.changing import changed
from minidistil.weights.model_weights import AnyLinear, Linear, ModelWeights, Table, whole
from minidistil.weights.narrow import BFloat16Linear, NarrowTable, rounded
from minidistil.weights.precision import check_precision, precision_of
from minidistil.weights.quantizing import quantized


def in_precision(weights: ModelWeights, precision: str | None) -> ModelWeights:
    """The same model in a precision; None for the one that it has.

    Raises:
        ValueError: no such precision, or one that such a model cannot have.
    """
    check_precision(precision)
    found = precision_of(weights)
    if precision is None or precision == found != "bfloat16":
        return weights
    if precision == "bfloat16":  # also of a model that is partly so: others are rounded
        return changed(weights, _bfloat16, _bfloat16_table)
    if found != "float32":
        weights = changed(weights, lambda w: Linear(w.weight, w.bias), whole)
    return quantized(weights) if precision == "int8" else weights


def _bfloat16(w: AnyLinear) -> BFloat16Linear:
    return w if isinstance(w, BFloat16Linear) else BFloat16Linear(_rounded(w.weight), w.bias)


def _bfloat16_table(table: Table) -> NarrowTable:
    if isinstance(table, NarrowTable) and table.scale is None:
        return table
    return NarrowTable(_rounded(whole(table)))


def _rounded(x: np.ndarray) -> np.ndarray:
    bits = rounded(x)
    release_pages(x)  # or the whole file would stay in memory beside what is made of it
    return bits
