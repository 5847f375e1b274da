"""Weights in the layout that the compiled kernels read: panels of columns, in one aligned block of memory."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from minidistil.kernels import layout
from minidistil.kernels.code import target
from minidistil.kernels.steps.pack import Pack
from minidistil.kernels.steps.take import take
from minidistil.weights._storage import release_pages
from minidistil.weights.model_weights import (
    TABLES,
    AnyLinear,
    LayerWeights,
    Linear,
    MaskedLMWeights,
    MobileLayerWeights,
    ModelWeights,
    NoNorm,
    Norm,
    Normalized,
    Table,
)
from minidistil.weights.narrow import MOST_COLUMNS, BFloat16Linear, Int8Linear, NarrowTable

_LINE = 16  # elements of four bytes in a cache line; every array starts on one
_ROWS_AT_A_TIME = 64 * layout.PANEL
_INT8_ROWS_AT_A_TIME = 8 * layout.PANEL  # in the cache while they are looked at several times

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
    (layout.pack_int8, layout.limited).

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
    part = _product(name, *linears)
    for kind, (shape, dtype) in part.arrays.items():
        if packed.places.get(f"{name}.{kind}", Place(0, ()))[1:] != (shape, dtype):
            raise ValueError(
                f"{name}.{kind} is not packed as {dtype} {list(shape)}: other weights of its kind are written"
            )
    part.fill(**{kind: packed[f"{name}.{kind}"] for kind in part.arrays})


def is_packed_from(packed: PackedWeights, weights: ModelWeights) -> bool:
    """Whether everything that `pack_model` would make of these weights here is there, in the same shapes and types.

    And whether nothing else is there of a product: who plans a pass takes an input to be smoothed where it finds that.
    """

    def there(part: Part) -> bool:
        kinds = dict.fromkeys((*part.arrays, "smooth"))
        places = {kind: packed.places[name] for kind in kinds if (name := f"{part.name}.{kind}") in packed}
        return {kind: place[1:] for kind, place in places.items()} == part.arrays

    return packed.sliver == target.sliver() and all(map(there, parts(weights)))


def first_places(layers: Sequence[LayerWeights | MobileLayerWeights]) -> list[int]:
    """For each layer the number under which it is packed: its own, or that of the first that has the same weights."""
    first: dict[int, int] = {}
    return [first.setdefault(id(layer), i) for i, layer in enumerate(layers)]


def numbers(linear: AnyLinear) -> np.ndarray:
    """[N, K] as they are packed: bfloat16 that has no pairs of k (layout.in_pairs) as float32."""
    if isinstance(linear, Int8Linear):
        return linear.codes
    if isinstance(linear, BFloat16Linear) and layout.in_pairs(linear.bits.shape[1]):
        return linear.bits
    return linear.weight


def aligned_zeros(size: int) -> np.ndarray:
    """float32 [size] of zeros that starts on a cache line."""
    raw = np.zeros(size + _LINE, np.float32)
    start = -(raw.ctypes.data // raw.itemsize) % _LINE
    return raw[start : start + size]


class Part(NamedTuple):
    """A product, a norm or a table.

    Attributes:
        name: of the part.
        arrays: for each of its arrays, by what comes behind the name: the shape and a key of DTYPES.
        fill: writes them, given by these words; they are zero beforehand.
        made_of: the products, side by side, or the table.
    """

    name: str
    arrays: Mapping[str, tuple[tuple[int, ...], str]]
    fill: Callable[..., None]
    made_of: tuple[Any, ...] = ()


def parts(weights: ModelWeights, tables: bool = False) -> Iterator[Part]:
    """All of a model that is packed, in the order in which a forward pass reads it; with its tables, or without."""
    for name in TABLES if tables else ():
        if (table := getattr(weights.encoder.embeddings, name)) is not None:
            yield _table(f"embeddings.{name}", table)
    yield _norm("embeddings.layer_norm", weights.encoder.embeddings.layer_norm)
    if weights.encoder.embeddings.projection is not None:
        yield _product("embeddings.projection", weights.encoder.embeddings.projection)
    stored = first_places(weights.encoder.layers)
    for i, layer in enumerate(weights.encoder.layers):
        if stored[i] != i:
            continue
        if isinstance(layer, MobileLayerWeights):
            yield from _mobile_layer(f"layer.{i}", layer)
            continue
        yield _product(f"layer.{i}.qkv", layer.q_lin, layer.k_lin, layer.v_lin)
        yield _product(f"layer.{i}.out_lin", layer.out_lin)
        yield _norm(f"layer.{i}.sa_layer_norm", layer.sa_layer_norm)
        yield _product(f"layer.{i}.lin1", layer.lin1)
        yield _product(f"layer.{i}.lin2", layer.lin2)
        yield _norm(f"layer.{i}.output_layer_norm", layer.output_layer_norm)
    if weights.masked_lm is not None:
        yield _product("vocab_transform", weights.masked_lm.vocab_transform)
        yield _norm("vocab_layer_norm", weights.masked_lm.vocab_layer_norm)
        yield _projector("vocab_projector", weights.masked_lm)


def _mobile_layer(at: str, layer: MobileLayerWeights) -> Iterator[Part]:
    yield from _normalized(f"{at}.input_bottleneck", layer.input_bottleneck)
    yield from _normalized(f"{at}.attention_bottleneck", layer.attention_bottleneck)
    yield _product(f"{at}.v_lin", layer.v_lin)
    yield _product(f"{at}.qk", layer.q_lin, layer.k_lin)
    yield _product(f"{at}.out_lin", layer.out_lin)
    yield _norm(f"{at}.sa_layer_norm", layer.sa_layer_norm)
    for n, network in enumerate(layer.feed_forwards):
        yield _product(f"{at}.feed_forwards.{n}.lin1", network.lin1)
        yield _product(f"{at}.feed_forwards.{n}.lin2", network.lin2)
        yield _norm(f"{at}.feed_forwards.{n}.norm", network.norm)
    yield from _normalized(f"{at}.output_bottleneck", layer.output_bottleneck)


def _normalized(name: str, part: Normalized | None) -> Iterator[Part]:
    if part is not None:
        yield _product(name, part.linear)
        yield _norm(f"{name}_norm", part.norm)


def _table(name: str, table: Table) -> Part:
    stored = table if isinstance(table, np.ndarray) else table.codes
    kinds = {dtype: kind for kind, dtype in DTYPES.items()}
    arrays = {"weight": (stored.shape, kinds[stored.dtype])}
    if isinstance(table, NarrowTable) and table.scale is not None:
        arrays["scale"] = ((len(table),), "F32")

    def fill(weight: np.ndarray, scale: np.ndarray | None = None) -> None:
        for row in range(0, len(stored), _ROWS_AT_A_TIME):
            weight[row : row + _ROWS_AT_A_TIME] = stored[row : row + _ROWS_AT_A_TIME]
            release_pages(stored[row : row + _ROWS_AT_A_TIME])
        if scale is not None and isinstance(table, NarrowTable):
            scale[:] = table.scale

    return Part(name, arrays, fill, (table,))


def _norm(name: str, norm: Norm | NoNorm) -> Part:
    def fill(weight: np.ndarray, bias: np.ndarray) -> None:
        weight[:], bias[:] = norm.weight, norm.bias

    return Part(name, {"weight": (norm.weight.shape, "F32"), "bias": (norm.bias.shape, "F32")}, fill)


def _product(name: str, *linears: AnyLinear) -> Part:
    if any(isinstance(linear, Int8Linear) for linear in linears):
        return _int8(name, linears)
    sources = [numbers(linear) for linear in linears]
    if len({source.dtype for source in sources}) > 1:
        raise ValueError(f"{name}: its parts are one product: all of them in float32 or none, got {_kinds(linears)}")
    part = _in_panels(name, sources, [linear.bias for linear in linears], sources[0].shape[1])
    return part._replace(made_of=linears)


def _projector(name: str, head: MaskedLMWeights) -> Part:
    if head.extension is None:
        return _product(name, head.vocab_projector)
    k = numbers(head.vocab_projector).shape[1] + len(head.extension)
    return _in_panels(name, [_Projection(head)], [head.vocab_projector.bias], k)


class _Projection:
    """Rows of an extended projection [V, D], made when they are asked for: whole they exist only packed."""

    dtype = np.dtype(np.float32)

    def __init__(self, head: MaskedLMWeights) -> None:
        self._head = head

    def __len__(self) -> int:
        return len(self._head.vocab_projector.bias)

    def __getitem__(self, rows: slice) -> np.ndarray:
        head = self._in_float32
        some = head.projection(rows)
        release_pages(head.vocab_projector.weight[rows])
        if rows.stop >= len(self) and head.extension is not None:
            release_pages(head.extension)  # whose rows go through all of the vocabulary
        return some

    @functools.cached_property
    def _in_float32(self) -> MaskedLMWeights:
        linear = self._head.vocab_projector
        if isinstance(linear, Linear):
            return self._head
        return replace(self._head, vocab_projector=Linear(linear.weight, linear.bias))


_Sources = Sequence[np.ndarray | _Projection]


def _in_panels(name: str, sources: _Sources, biases: Sequence[np.ndarray], k: int) -> Part:
    """A product in the layout of layout.pack, of float32 or of bfloat16's bits."""
    panels = sum(map(layout.panels, map(len, biases)))
    dtype = "U16" if sources[0].dtype == np.uint16 else "F32"

    def fill(weight: np.ndarray, bias: np.ndarray) -> None:
        _fill_panels(sources, weight)
        _fill_columns(biases, bias)

    arrays = {"weight": ((panels, k, layout.PANEL), dtype), "bias": ((panels * layout.PANEL,), "F32")}
    return Part(name, arrays, fill)


def _int8(name: str, linears: Sequence[AnyLinear]) -> Part:
    """A product in whole numbers."""
    own = [linear for linear in linears if isinstance(linear, Int8Linear)]
    k, smooth = own[0].codes.shape[1], own[0].smooth
    if len(own) < len(linears):
        raise ValueError(f"{name}: its parts are one product: all of them in int8 or none, got {_kinds(linears)}")
    if any(not _same(linear.smooth, smooth) for linear in own):
        raise ValueError(f"{name}: its parts read the same input, which must be smoothed by the same numbers for all")
    if k > MOST_COLUMNS:
        raise ValueError(f"{name}: sums of {k:,} whole numbers may not fit 32 bits; at most {MOST_COLUMNS:,} do")
    for linear in own:
        _check(name, linear, k)
    panels = sum(layout.panels(len(linear.codes)) for linear in own)
    column = ((panels * layout.PANEL,), "F32")
    arrays = {"weight": ((panels, -(-k // 4), layout.PANEL, 4), "I8"), "scale": column, "bias": column}
    arrays |= {"sums": (column[0], "I32"), "limited": ((panels,), "I32")}
    if smooth is not None:
        arrays["smooth"] = ((k,), "F32")
    return Part(name, arrays, functools.partial(_fill_int8, own), tuple(own))


def _check(name: str, linear: Int8Linear, k: int) -> None:
    """Refuse arrays that do not fit together: kernels go by their shapes."""
    n = len(linear.codes)
    for kind, array, dtype, shape in (
        ("codes", linear.codes, np.int8, (n, k)),
        ("scale", linear.scale, np.float32, (n,)),
        ("bias", linear.bias, np.float32, (n,)),
        ("smooth", linear.smooth, np.float32, (k,)),
    ):
        if array is not None and (array.dtype != dtype or array.shape != shape):
            found = f"{array.dtype} {list(array.shape)}"
            raise ValueError(f"{name}: {kind} must be {np.dtype(dtype)} {list(shape)}, got {found}")


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


def _kinds(linears: Sequence[AnyLinear]) -> str:
    names = {Linear: "float32", BFloat16Linear: "bfloat16", Int8Linear: "int8"}
    return ", ".join(names[type(linear)] for linear in linears)


def _fill_int8(
    linears: Sequence[Int8Linear],
    weight: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    sums: np.ndarray,
    limited: np.ndarray,
    smooth: np.ndarray | None = None,
) -> None:
    if smooth is not None:
        smooth[:] = linears[0].smooth
    _fill_columns([linear.scale for linear in linears], scale)
    _fill_columns([linear.bias for linear in linears], bias)
    first = 0
    for linear in linears:
        # By and by, so that a mapped file does not stand in memory whole beside what is made of it.
        for row in range(0, len(linear.codes), _INT8_ROWS_AT_A_TIME):
            some = linear.codes[row : row + _INT8_ROWS_AT_A_TIME]
            end = first + layout.panels(len(some))
            layout.pack_int8(some, weight[first:end])
            limited[first:end] = layout.limited(some)
            sums[first * layout.PANEL :][: len(some)] = some.sum(axis=1, dtype=np.int32)
            release_pages(some)
            first = end


def _fill_panels(sources: _Sources, out: np.ndarray) -> None:
    """Write the sources [N, K] one after another, each from the start of a panel; `out` is zero beforehand."""
    panel = 0
    for source in sources:
        for row in range(0, len(source), _ROWS_AT_A_TIME):
            some = source[row : row + _ROWS_AT_A_TIME]
            count = layout.panels(len(some))
            _pack(some, out[panel : panel + count])
            release_pages(some)
            panel += count


def _fill_columns(sources: Sequence[np.ndarray], out: np.ndarray) -> None:
    """Write numbers of columns one after another, each from the start of a panel."""
    first = 0
    for source in sources:
        out[first : first + len(source)] = source
        first += layout.padded_columns(len(source))


def _pack(source: np.ndarray, out: np.ndarray) -> None:
    """Some rows, float32 or bits of bfloat16, into panels of the same."""
    source = np.ascontiguousarray(source)
    n, k = source.shape
    take(Pack(layout.address(source), n, k, layout.address(out), int(source.dtype == np.uint16)))
