"""Weights in the layout that the compiled kernels read: panels of columns, in one aligned block of memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minidistil.kernels import layout
from minidistil.kernels.code import target
from minidistil.weights._storage import release_pages
from minidistil.weights.model_weights import (
    TABLES,
    AnyLinear,
    LayerWeights,
    MobileLayerWeights,
    ModelWeights,
    NoNorm,
    Norm,
    Normalized,
    Table,
)
from minidistil.weights.narrow import NarrowTable
from minidistil.weights.packed_products import ROWS_AT_A_TIME, Part, columns_of, product, projector

_LINE = 16  # elements of four bytes in a cache line; every array starts on one

DTYPES: dict[str, np.dtype] = {
    name: np.dtype(dtype) for name, dtype in {"F32": "f4", "U16": "u2", "I8": "i1", "I32": "i4"}.items()
}
"""Those of packed arrays, by safetensors' names."""


class Place(NamedTuple):
    """Where an array lies in a block.

    Attributes:
        start: of its first element, in elements of four bytes from the start of the block; on a cache line.
        shape: its dimensions.
        dtype: a key of DTYPES.
    """

    start: int
    shape: tuple[int, ...]
    dtype: str = "F32"

    @property
    def size(self) -> int:
        """How much of the block it takes, in elements of four bytes."""
        return -(-math.prod(self.shape) * DTYPES[self.dtype].itemsize // 4)


@dataclass(frozen=True)
class PackedWeights:
    """Named arrays in one block.

    Attributes:
        block: float32 [n], its start on a cache line; read-only where it is a map of a file. Arrays of other types lie
            in it as they are.
        places: where each array is.
        sliver: columns of a sliver of the panels (layout.pack): only code with such a tile reads them.
    """

    block: np.ndarray
    places: Mapping[str, Place]
    sliver: int

    def __getitem__(self, name: str) -> np.ndarray:
        """The array of this name, a view of the block."""
        place = self.places[name]
        part = self.block[place.start : place.start + place.size].view(DTYPES[place.dtype])
        return part[: math.prod(place.shape)].reshape(place.shape)

    def __contains__(self, name: str) -> bool:
        return name in self.places

    def address(self, name: str) -> int:
        """Byte address of the array of this name."""
        return layout.address(self.block) + self.places[name].start * self.block.itemsize


def pack_model(weights: ModelWeights, tables: bool = False) -> PackedWeights:
    """Pack every product of a model, and its tables of embeddings where they are wanted.

    A product `name` [N, K] gives `name.weight` float32 [panels(N), K, PANEL] and `name.bias` [panels(N) * PANEL], zero
    beyond N; in bfloat16 the weight is uint16, where K allows that (layout.in_pairs). In int8 it is int8 [panels(N),
    ceil(K / 4), PANEL, 4], and there are `name.scale` and `name.sums` (int32, of each column's weights), as long as the
    bias, `name.limited` int32 [panels(N)] and, where its input is smoothed, `name.smooth` float32 [K]
    (layout.pack_int8, layout.limited). Where C columns are kept in float32, `name.kept` float32 [panels(N), C, PANEL]
    has them (layout.pack_kept), and `name.columns` int32 [C] their numbers.

    Queries, keys and values become one product `layer.{i}.qkv` (MobileBERT's queries and keys one, `layer.{i}.qk`),
    each padded to whole panels. LayerNorms keep their shape. Tables keep theirs too, as they are read by row, in their
    own type: `embeddings.word_embeddings.weight`, and its `.scale` float32 [V] in int8. The engine reads them where the
    model's weights have them; who packs a model in another precision than its file's wants them beside.

    Raises:
        ValueError: weights that no kernel takes: products that are one here, but of several kinds; sums too long.
    """
    packs = list(parts(weights, tables))
    places: dict[str, Place] = {}
    size = 0
    for part in packs:
        for kind, (shape, dtype) in part.arrays.items():
            place = places[f"{part.name}.{kind}"] = Place(size, shape, dtype)
            size += -(-place.size // _LINE) * _LINE
    packed = PackedWeights(aligned_zeros(size), places, target.sliver())
    for part in packs:
        part.fill(**{kind: packed[f"{part.name}.{kind}"] for kind in part.arrays})
    return packed


def pack_again(packed: PackedWeights, name: str, *linears: AnyLinear) -> None:
    """Write other weights where the product `name` has its own; `packed` is `pack_model`'s.

    Raises:
        ValueError: weights of another kind or shape.
    """
    part = product(name, *linears)
    stored = _stored(packed, part)
    for kind in dict.fromkeys((*part.arrays, *stored)):
        if stored.get(kind) != part.arrays.get(kind):
            found, given = (_described(arrays.get(kind)) for arrays in (stored, part.arrays))
            raise ValueError(f"{name}.{kind} is packed as {found}, not as {given}: only such weights are written there")
    part.fill(**{kind: packed[f"{name}.{kind}"] for kind in part.arrays})


def is_packed_from(packed: PackedWeights, weights: ModelWeights) -> bool:
    """Whether everything that `pack_model` would make of these weights here is there, in the same shapes and types.

    And whether nothing else is there of a product: who plans a pass takes an input to be smoothed, and columns to be
    kept, where it finds that. And whether these columns are the product's: a kernel goes by their numbers.
    """

    def there(part: Part) -> bool:
        if _stored(packed, part) != part.arrays:
            return False
        return "columns" not in part.arrays or np.array_equal(packed[f"{part.name}.columns"], columns_of(part))

    return packed.sliver == target.sliver() and all(map(there, parts(weights)))


def _stored(packed: PackedWeights, part: Part) -> dict[str, tuple]:
    """Shapes and types of the arrays that are packed of a part, and of such as it might have besides."""
    kinds = dict.fromkeys((*part.arrays, "smooth", "kept", "columns"))
    return {kind: packed.places[name][1:] for kind in kinds if (name := f"{part.name}.{kind}") in packed}


def _described(array: tuple | None) -> str:
    return f"{array[1]} {list(array[0])}" if array else "nothing"


def first_places(layers: Sequence[LayerWeights | MobileLayerWeights]) -> list[int]:
    """For each layer the number under which it is packed: its own, or that of the first that has the same weights."""
    first: dict[int, int] = {}
    return [first.setdefault(id(layer), i) for i, layer in enumerate(layers)]


def aligned_zeros(size: int) -> np.ndarray:
    """float32 [size] of zeros that starts on a cache line."""
    raw = np.zeros(size + _LINE, np.float32)
    start = -(raw.ctypes.data // raw.itemsize) % _LINE
    return raw[start : start + size]


def parts(weights: ModelWeights, tables: bool = False) -> Iterator[Part]:
    """All of a model that is packed, in the order in which a forward pass reads it; with its tables, or without."""
    for name in TABLES if tables else ():
        if (table := getattr(weights.encoder.embeddings, name)) is not None:
            yield _table(f"embeddings.{name}", table)
    yield _norm("embeddings.layer_norm", weights.encoder.embeddings.layer_norm)
    if weights.encoder.embeddings.projection is not None:
        yield product("embeddings.projection", weights.encoder.embeddings.projection)
    stored = first_places(weights.encoder.layers)
    for i, layer in enumerate(weights.encoder.layers):
        if stored[i] != i:
            continue
        if isinstance(layer, MobileLayerWeights):
            yield from _mobile_layer(f"layer.{i}", layer)
            continue
        yield product(f"layer.{i}.qkv", layer.q_lin, layer.k_lin, layer.v_lin)
        yield product(f"layer.{i}.out_lin", layer.out_lin)
        yield _norm(f"layer.{i}.sa_layer_norm", layer.sa_layer_norm)
        yield product(f"layer.{i}.lin1", layer.lin1)
        yield product(f"layer.{i}.lin2", layer.lin2)
        yield _norm(f"layer.{i}.output_layer_norm", layer.output_layer_norm)
    if weights.masked_lm is not None:
        yield product("vocab_transform", weights.masked_lm.vocab_transform)
        yield _norm("vocab_layer_norm", weights.masked_lm.vocab_layer_norm)
        yield projector("vocab_projector", weights.masked_lm)


def _mobile_layer(at: str, layer: MobileLayerWeights) -> Iterator[Part]:
    yield from _normalized(f"{at}.input_bottleneck", layer.input_bottleneck)
    yield from _normalized(f"{at}.attention_bottleneck", layer.attention_bottleneck)
    yield product(f"{at}.v_lin", layer.v_lin)
    yield product(f"{at}.qk", layer.q_lin, layer.k_lin)
    yield product(f"{at}.out_lin", layer.out_lin)
    yield _norm(f"{at}.sa_layer_norm", layer.sa_layer_norm)
    for n, network in enumerate(layer.feed_forwards):
        yield product(f"{at}.feed_forwards.{n}.lin1", network.lin1)
        yield product(f"{at}.feed_forwards.{n}.lin2", network.lin2)
        yield _norm(f"{at}.feed_forwards.{n}.norm", network.norm)
    yield from _normalized(f"{at}.output_bottleneck", layer.output_bottleneck)


def _normalized(name: str, part: Normalized | None) -> Iterator[Part]:
    if part is not None:
        yield product(name, part.linear)
        yield _norm(f"{name}_norm", part.norm)


def _table(name: str, table: Table) -> Part:
    stored = table if isinstance(table, np.ndarray) else table.codes
    kinds = {dtype: kind for kind, dtype in DTYPES.items()}
    arrays = {"weight": (stored.shape, kinds[stored.dtype])}
    if isinstance(table, NarrowTable) and table.scale is not None:
        arrays["scale"] = ((len(table),), "F32")

    def fill(weight: np.ndarray, scale: np.ndarray | None = None) -> None:
        for row in range(0, len(stored), ROWS_AT_A_TIME):
            weight[row : row + ROWS_AT_A_TIME] = stored[row : row + ROWS_AT_A_TIME]
            release_pages(stored[row : row + ROWS_AT_A_TIME])
        if scale is not None and isinstance(table, NarrowTable):
            scale[:] = table.scale

    return Part(name, arrays, fill, (table,))


def _norm(name: str, norm: Norm | NoNorm) -> Part:
    def fill(weight: np.ndarray, bias: np.ndarray) -> None:
        weight[:], bias[:] = norm.weight, norm.bias

    return Part(name, {"weight": (norm.weight.shape, "F32"), "bias": (norm.bias.shape, "F32")}, fill)
