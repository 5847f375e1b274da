"""What is packed of one product, or of several that read the same input: its arrays, and how they are filled."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minidistil.kernels import layout
from minidistil.kernels.steps.pack import Pack
from minidistil.kernels.steps.take import take
from minidistil.weights._storage import release_pages
from minidistil.weights.model_weights import AnyLinear, Linear, MaskedLMWeights
from minidistil.weights.narrow import MOST_COLUMNS, BFloat16Linear, Int8Linear, kept_columns

ROWS_AT_A_TIME = 64 * layout.PANEL
_INT8_ROWS_AT_A_TIME = 8 * layout.PANEL  # in the cache while they are looked at several times


class Part(NamedTuple):
    """A product, a norm or a table.

    Attributes:
        name: of the part.
        arrays: for each of its arrays, by what comes behind the name: the shape and a key of packing.DTYPES.
        fill: writes them, given by these words; they are zero beforehand.
        made_of: the products, side by side, or the table.
    """

    name: str
    arrays: Mapping[str, tuple[tuple[int, ...], str]]
    fill: Callable[..., None]
    made_of: tuple[Any, ...] = ()


def product(name: str, *linears: AnyLinear) -> Part:
    """Products of one input, side by side."""
    if any(isinstance(linear, Int8Linear) for linear in linears):
        return _int8(name, linears)
    sources = [numbers(linear) for linear in linears]
    if len({source.dtype for source in sources}) > 1:
        raise ValueError(f"{name}: its parts are one product: all of them in float32 or none, got {_kinds(linears)}")
    part = _in_panels(name, sources, [linear.bias for linear in linears], sources[0].shape[1])
    return part._replace(made_of=linears)


def projector(name: str, head: MaskedLMWeights) -> Part:
    """The projection onto the vocabulary, with what extends it."""
    if head.extension is None:
        return product(name, head.vocab_projector)
    k = numbers(head.vocab_projector).shape[1] + len(head.extension)
    return _in_panels(name, [_Projection(head)], [head.vocab_projector.bias], k)


def numbers(linear: AnyLinear) -> np.ndarray:
    """[N, K] as they are packed: bfloat16 that has no pairs of k (layout.in_pairs) as float32."""
    if isinstance(linear, Int8Linear):
        return linear.codes
    if isinstance(linear, BFloat16Linear) and layout.in_pairs(linear.bits.shape[1]):
        return linear.bits
    return linear.weight


def columns_of(part: Part) -> np.ndarray:
    """Numbers of the columns that a part keeps in float32 beside whole numbers: int32 [C]."""
    linear = part.made_of[0] if part.made_of else None
    return linear.columns if isinstance(linear, Int8Linear) else kept_columns(None)


# In panels of float32 or bfloat16 -------------------------------------------------------------------------------------


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


def _fill_panels(sources: _Sources, out: np.ndarray) -> None:
    """Write the sources [N, K] one after another, each from the start of a panel; `out` is zero beforehand."""
    panel = 0
    for source in sources:
        for row in range(0, len(source), ROWS_AT_A_TIME):
            some = source[row : row + ROWS_AT_A_TIME]
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


# In whole numbers -----------------------------------------------------------------------------------------------------


def _int8(name: str, linears: Sequence[AnyLinear]) -> Part:
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
    panels, kept = sum(layout.panels(len(linear.codes)) for linear in own), len(own[0].columns)
    column = ((panels * layout.PANEL,), "F32")
    arrays = {"weight": ((panels, -(-k // 4), layout.PANEL, 4), "I8"), "scale": column, "bias": column}
    arrays |= {"sums": (column[0], "I32"), "limited": ((panels,), "I32")}
    if smooth is not None:
        arrays["smooth"] = ((k,), "F32")
    if kept:
        arrays |= {"kept": ((panels, kept, layout.PANEL), "F32"), "columns": ((kept,), "I32")}
    return Part(name, arrays, functools.partial(_fill_int8, own), tuple(own))


def _check(name: str, linear: Int8Linear, k: int) -> None:
    """Refuse arrays that do not fit together: kernels go by their shapes."""
    n, kept = len(linear.codes), len(linear.columns)
    for kind, array, dtype, shape in (
        ("codes", linear.codes, np.int8, (n, k)),
        ("scale", linear.scale, np.float32, (n,)),
        ("bias", linear.bias, np.float32, (n,)),
        ("smooth", linear.smooth, np.float32, (k,)),
        ("kept", linear.kept, np.float32, (n, kept)),
    ):
        if array is not None and (array.dtype != dtype or array.shape != shape):
            found = f"{array.dtype} {list(array.shape)}"
            raise ValueError(f"{name}: {kind} must be {np.dtype(dtype)} {list(shape)}, got {found}")
    if (linear.kept is None) != (kept == 0):
        found = "no array of them" if kept else "an array of them"
        raise ValueError(f"{name}: smooth is zero in {kept} columns, which are kept in float32, and there is {found}")


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
    kept: np.ndarray | None = None,
    columns: np.ndarray | None = None,
) -> None:
    if smooth is not None:
        smooth[:] = linears[0].smooth
    if columns is not None:
        columns[:] = linears[0].columns
    _fill_columns([linear.scale for linear in linears], scale)
    _fill_columns([linear.bias for linear in linears], bias)
    first = 0
    for linear in linears:
        if kept is not None:
            layout.pack_kept(np.asarray(linear.kept), kept[first : first + layout.panels(len(linear.codes))])
        # By and by, so that a mapped file does not stand in memory whole beside what is made of it.
        for row in range(0, len(linear.codes), _INT8_ROWS_AT_A_TIME):
            some = linear.codes[row : row + _INT8_ROWS_AT_A_TIME]
            end = first + layout.panels(len(some))
            layout.pack_int8(some, weight[first:end])
            limited[first:end] = layout.limited(some)
            sums[first * layout.PANEL :][: len(some)] = some.sum(axis=1, dtype=np.int32)
            release_pages(some)
            first = end
