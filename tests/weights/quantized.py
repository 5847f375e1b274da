"""Quantized models for tests, made without care: a scale for each row of its greatest number."""

from __future__ import annotations

import mmap
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minidistil.weights import ModelWeights, open_checkpoint, read_model
from minidistil.weights.changing import changed
from minidistil.weights.config import Config
from minidistil.weights.model_weights import AnyLinear, LayerWeights, Linear, Table, is_tied, projection, whole
from minidistil.weights.named import modules
from minidistil.weights.narrow import Int8Linear, NarrowTable
from minidistil.weights.small_files import read_object
from minidistil.weights.writing import _arrays, write_quantized
from tests import synthetic

Arrays = dict[str, np.ndarray]
_TABLES = ("word_embeddings", "position_embeddings", "token_type_embeddings")


def in_int8(weights: ModelWeights) -> ModelWeights:
    """Every product and table that may be int8; what stands in several places does so again."""
    words = weights.encoder.embeddings.word_embeddings
    made: dict[int, Any] = {}

    def changed(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(map(changed, part))
        if not is_dataclass(part):
            return part
        if id(part) not in made:
            made[id(part)] = linear(part) if isinstance(part, Linear) else replace(part, **parts(part))  # type: ignore
        return made[id(part)]

    def parts(part: Any) -> dict[str, Any]:
        own = {field.name: getattr(part, field.name) for field in fields(part)}
        return {name: table(x) if name in _TABLES and x is not None else changed(x) for name, x in own.items()}

    encoder, head = changed(weights.encoder), weights.masked_lm
    if head is not None:
        tied, projector = is_tied(head.vocab_projector, words), head.vocab_projector
        if tied:
            projector = projection(encoder.embeddings.word_embeddings, head)
        elif head.extension is None:
            projector = linear(projector)
        head = replace(head, vocab_transform=linear(head.vocab_transform), vocab_projector=projector)
    return replace(weights, encoder=encoder, masked_lm=head)


def linear(w: AnyLinear) -> AnyLinear:
    return Int8Linear(*_rows(w.weight), w.bias)


def table(x: Table) -> Table:
    return NarrowTable(*_rows(whole(x)))


def smoothed(weights: ModelWeights) -> ModelWeights:
    """The same, where the inputs of the products of layers are multiplied by something before, of MobileBERT's none."""
    made: dict[int, LayerWeights] = {}  # layers may be shared

    def layer(part: Any) -> LayerWeights:
        smooths = {name: _smooth(getattr(part, name)) for name in ("q_lin", "out_lin", "lin1", "lin2")}
        smooths |= dict.fromkeys(("k_lin", "v_lin"), smooths["q_lin"])
        linears: Any = {name: replace(getattr(part, name), smooth=smooth) for name, smooth in smooths.items()}
        return made.setdefault(id(part), replace(part, **linears))

    layers = tuple(layer(part) for part in weights.encoder.layers)
    return replace(weights, encoder=replace(weights.encoder, layers=layers))


def keeping(weights: ModelWeights) -> ModelWeights:
    """The same in all families, where some columns of the products of layers are kept in float32.

    Wide products keep one and are not smoothed otherwise, square ones keep two and narrow ones three. Of the latter the
    whole numbers in these columns are not zeros, which has no effect.
    """

    def linear(w: AnyLinear) -> AnyLinear:
        if not isinstance(w, Int8Linear):
            return w
        rows, width = w.codes.shape
        smooth = np.ones(width, np.float32) if rows > width else _smooth(w)
        columns = np.unique([width - 1, 0, width // 2][: 1 + (rows <= width) + (rows < width)])
        smooth[columns] = 0
        codes = w.codes.copy()
        if rows >= width:
            codes[:, columns] = 0
        kept = np.random.default_rng([rows, width]).normal(size=(rows, len(columns))).astype(np.float32)
        return Int8Linear(codes, w.scale, w.bias, smooth, kept)

    return changed(weights, linear, lambda x: x)


def _smooth(w: AnyLinear) -> np.ndarray:
    return np.linspace(0.5, 2, w.weight.shape[1], dtype=np.float32)


def _rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = np.maximum(np.abs(x).max(axis=1), np.float32(1e-6)) / np.float32(127)
    return np.rint(x / scale[:, None]).astype(np.int8), scale


def source(folder: Path, config: dict, **options: Any) -> ModelWeights:
    """Synthetic weights of a configuration."""
    return read_model(open_checkpoint(synthetic.write_checkpoint(folder, config)), **options)


def write(folder: Path, config: dict, weights: ModelWeights | None = None) -> Path:
    """A quantized checkpoint of a configuration, of synthetic weights or of these."""
    if weights is None:
        weights = in_int8(source(folder / "source", config))
    return write_quantized(folder / "int8", Config.from_dict(config), weights)


def stored(folder: Path) -> tuple[dict[str, Any], Arrays]:
    """config.json and tensors of a checkpoint, copied, to be changed."""
    opened = open_checkpoint(folder)
    return read_object(folder / "config.json"), {name: opened.read_stored(name).copy() for name in opened.names}


def is_mapped(x: np.ndarray) -> bool:
    """Whether an array lies in a mapped file, and nobody can write to it."""
    assert x.flags.c_contiguous
    assert not x.flags.writeable
    owner: Any = x
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return isinstance(owner.obj if isinstance(owner, memoryview) else owner, mmap.mmap)


def arrays(weights: ModelWeights) -> Arrays:
    """Every array of a model: canonical module and kind -> itself."""
    return {f"{module}.{kind}": x for module, part in modules(weights) for kind, x in _arrays(part).items()}


def bits(weights: ModelWeights) -> dict[str, tuple[Any, ...]]:
    """The same by content."""
    return {name: (x.dtype, x.shape, x.tobytes()) for name, x in arrays(weights).items()}
