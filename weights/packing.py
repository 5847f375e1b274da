"""Weights in the layout that the compiled kernels read: panels of columns, in one aligned block of memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minidistil.kernels import layout
from minidistil.kernels.code import target
from minidistil.kernels.steps.pack import Pack
from minidistil.kernels.steps.take import take
from minidistil.weights._storage import release_pages
from minidistil.weights.model_weights import (
    AnyLinear,
    LayerWeights,
    MaskedLMWeights,
    MobileLayerWeights,
    ModelWeights,
    NoNorm,
    Norm,
    Normalized,
)

_LINE = 16  # floats of a cache line; every array starts on one
_ROWS_AT_A_TIME = 64 * layout.PANEL


@dataclass(frozen=True)
class PackedWeights:
    """Named float32 arrays in one block.

    Attributes:
        block: float32 [n], its start on a cache line; read-only where it is a map of a file.
        places: for each name, the position of its first element in `block` and its shape.
        sliver: columns of a sliver of the panels (layout.pack): only code with such a tile reads them.
    """

    block: np.ndarray
    places: Mapping[str, tuple[int, tuple[int, ...]]]
    sliver: int

    def __getitem__(self, name: str) -> np.ndarray:
        """The array of this name, a view of the block."""
        start, shape = self.places[name]
        return self.block[start : start + int(np.prod(shape))].reshape(shape)

    def __contains__(self, name: str) -> bool:
        return name in self.places

    def address(self, name: str) -> int:
        """Byte address of the array of this name."""
        return self.block.ctypes.data + self.places[name][0] * self.block.itemsize


def pack_model(weights: ModelWeights) -> PackedWeights:
    """Pack every product of a model.

    A product `name` [N, K] gives `name.weight` float32 [panels(N), K, PANEL] and `name.bias` [panels(N) * PANEL], zero
    beyond N; queries, keys and values become one product `layer.{i}.qkv` (MobileBERT's queries and keys one,
    `layer.{i}.qk`), each padded to whole panels. LayerNorms keep their shape. The embedding tables are not packed: they
    are read by row.
    """
    parts = list(_parts(weights))
    places: dict[str, tuple[int, tuple[int, ...]]] = {}
    size = 0
    for name, shape, _ in parts:
        places[name] = (size, shape)
        size += -(-int(np.prod(shape)) // _LINE) * _LINE
    packed = PackedWeights(aligned_zeros(size), places, target.sliver())
    for name, _, sources in parts:
        _fill(packed[name], sources)
    return packed


def pack_again(packed: PackedWeights, name: str, weight: np.ndarray) -> None:
    """Write another weight float32 [N, K] where the product `name` has its own; `packed` is `pack_model`'s."""
    _fill(packed[f"{name}.weight"], [weight])


def is_packed_from(packed: PackedWeights, weights: ModelWeights) -> bool:
    """Whether everything that `pack_model` would make of these weights here is there, in the same shapes."""
    return packed.sliver == target.sliver() and all(
        packed.places.get(name, (0, ()))[1] == shape for name, shape, _ in _parts(weights)
    )


def first_places(layers: Sequence[LayerWeights | MobileLayerWeights]) -> list[int]:
    """For each layer the number under which it is packed: its own, or that of the first that has the same weights."""
    first: dict[int, int] = {}
    return [first.setdefault(id(layer), i) for i, layer in enumerate(layers)]


def aligned_zeros(size: int) -> np.ndarray:
    """float32 [size] of zeros that starts on a cache line."""
    raw = np.zeros(size + _LINE, np.float32)
    start = -(raw.ctypes.data // raw.itemsize) % _LINE
    return raw[start : start + size]


class _Projection:
    """Rows of an extended projection [V, D], made when they are asked for: whole they exist only packed."""

    ndim = 2

    def __init__(self, head: MaskedLMWeights) -> None:
        self._head = head

    def __len__(self) -> int:
        return len(self._head.vocab_projector.bias)

    def __getitem__(self, rows: slice) -> np.ndarray:
        some = self._head.projection(rows)
        release_pages(self._head.vocab_projector.weight[rows])
        if rows.stop >= len(self) and self._head.extension is not None:
            release_pages(self._head.extension)  # whose rows go through all of the vocabulary
        return some


_Sources = Sequence[np.ndarray | _Projection]
_Part = tuple[str, tuple[int, ...], _Sources]


def _parts(weights: ModelWeights) -> Iterator[_Part]:
    """Name, packed shape and sources of every array, in the order in which a forward pass reads them."""
    yield from _norm("embeddings.layer_norm", weights.encoder.embeddings.layer_norm)
    if weights.encoder.embeddings.projection is not None:
        yield from _product("embeddings.projection", weights.encoder.embeddings.projection)
    stored = first_places(weights.encoder.layers)
    for i, layer in enumerate(weights.encoder.layers):
        if stored[i] != i:
            continue
        if isinstance(layer, MobileLayerWeights):
            yield from _mobile_layer(f"layer.{i}", layer)
            continue
        yield from _product(f"layer.{i}.qkv", layer.q_lin, layer.k_lin, layer.v_lin)
        yield from _product(f"layer.{i}.out_lin", layer.out_lin)
        yield from _norm(f"layer.{i}.sa_layer_norm", layer.sa_layer_norm)
        yield from _product(f"layer.{i}.lin1", layer.lin1)
        yield from _product(f"layer.{i}.lin2", layer.lin2)
        yield from _norm(f"layer.{i}.output_layer_norm", layer.output_layer_norm)
    if weights.masked_lm is not None:
        yield from _product("vocab_transform", weights.masked_lm.vocab_transform)
        yield from _norm("vocab_layer_norm", weights.masked_lm.vocab_layer_norm)
        yield from _projector("vocab_projector", weights.masked_lm)


def _mobile_layer(at: str, layer: MobileLayerWeights) -> Iterator[_Part]:
    yield from _normalized(f"{at}.input_bottleneck", layer.input_bottleneck)
    yield from _normalized(f"{at}.attention_bottleneck", layer.attention_bottleneck)
    yield from _product(f"{at}.v_lin", layer.v_lin)
    yield from _product(f"{at}.qk", layer.q_lin, layer.k_lin)
    yield from _product(f"{at}.out_lin", layer.out_lin)
    yield from _norm(f"{at}.sa_layer_norm", layer.sa_layer_norm)
    for n, network in enumerate(layer.feed_forwards):
        yield from _product(f"{at}.feed_forwards.{n}.lin1", network.lin1)
        yield from _product(f"{at}.feed_forwards.{n}.lin2", network.lin2)
        yield from _norm(f"{at}.feed_forwards.{n}.norm", network.norm)
    yield from _normalized(f"{at}.output_bottleneck", layer.output_bottleneck)


def _normalized(name: str, part: Normalized | None) -> Iterator[_Part]:
    if part is not None:
        yield from _product(name, part.linear)
        yield from _norm(f"{name}_norm", part.norm)


def _projector(name: str, head: MaskedLMWeights) -> Iterator[_Part]:
    linear = head.vocab_projector
    k = linear.weight.shape[1] + (0 if head.extension is None else len(head.extension))
    panels = layout.panels(len(linear.bias))
    yield f"{name}.weight", (panels, k, layout.PANEL), [linear.weight if head.extension is None else _Projection(head)]
    yield f"{name}.bias", (panels * layout.PANEL,), [linear.bias]


def _product(name: str, *linears: AnyLinear) -> Iterator[_Part]:
    panels = sum(layout.panels(len(linear.bias)) for linear in linears)
    k = linears[0].weight.shape[1]
    yield f"{name}.weight", (panels, k, layout.PANEL), [linear.weight for linear in linears]
    yield f"{name}.bias", (panels * layout.PANEL,), [linear.bias for linear in linears]


def _norm(name: str, norm: Norm | NoNorm) -> Iterator[_Part]:
    yield f"{name}.weight", norm.weight.shape, [norm.weight]
    yield f"{name}.bias", norm.bias.shape, [norm.bias]


def _fill(out: np.ndarray, sources: _Sources) -> None:
    """Write the sources one after another, each from the start of a panel; `out` is zero beforehand."""
    panel = 0
    for source in sources:
        if source.ndim == 2:
            # By and by, so that a mapped file does not stand in memory whole beside what is made of it.
            for row in range(0, len(source), _ROWS_AT_A_TIME):
                some = source[row : row + _ROWS_AT_A_TIME]
                count = layout.panels(len(some))
                _pack(some, out[panel : panel + count])
                release_pages(some)
                panel += count
        elif len(sources) == 1:
            out[: len(source)] = source[:]
        else:
            out[panel * layout.PANEL :][: len(source)] = source[:]
            panel += layout.panels(len(source))


def _pack(source: np.ndarray, out: np.ndarray) -> None:
    source = np.ascontiguousarray(source)
    n, k = source.shape
    take(Pack(layout.address(source), n, k, layout.address(out)))
