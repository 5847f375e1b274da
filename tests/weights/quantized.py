"""Quantized models for tests, made without care: a scale for each row of its greatest number."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minidistil.weights import ModelWeights, open_checkpoint, read_model
from minidistil.weights.config import Config
from minidistil.weights.model_weights import AnyLinear, Table, whole
from minidistil.weights.named import modules
from minidistil.weights.narrow import Int8Linear, NarrowTable
from minidistil.weights.precision import _changed
from minidistil.weights.writing import _arrays, write_quantized
from tests import synthetic

Arrays = dict[str, np.ndarray]


def in_int8(weights: ModelWeights) -> ModelWeights:
    """Every product and table that may be int8."""
    return _changed(weights, linear, lambda x: NarrowTable(*_rows(whole(x))))


def linear(w: AnyLinear) -> AnyLinear:
    return Int8Linear(*_rows(w.weight), w.bias)


def table(x: Table) -> Table:
    return NarrowTable(*_rows(whole(x)))


def _rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = np.maximum(np.abs(x).max(axis=1), np.float32(1e-6)) / np.float32(127)
    return np.rint(x / scale[:, None]).astype(np.int8), scale


def write(folder: Path, config: dict, weights: ModelWeights | None = None) -> Path:
    """A quantized checkpoint of a configuration, of synthetic weights or of these."""
    if weights is None:
        synthetic.write_checkpoint(folder / "source", config)
        weights = in_int8(read_model(open_checkpoint(folder / "source")))
    return write_quantized(folder / "int8", Config.from_dict(config), weights)


def arrays(weights: ModelWeights) -> Arrays:
    """Every array of a model: canonical module and kind -> itself."""
    return {f"{module}.{kind}": x for module, part in modules(weights) for kind, x in _arrays(part).items()}
