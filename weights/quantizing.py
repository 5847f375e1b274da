"""A float32 model in int8: which products, columns and tables, what inputs are multiplied by before, in which steps.

Inputs that come out of a norm have a few columns that are many times as large as all others, and a row of codes has one
step for all of its columns. So column j of such an input is divided by s[j], and that of the weight multiplied:

    s[j] = sqrt(greatest magnitude in column j of the input / in column j of the weight)

after "SmoothQuant" (Xiao et al., 2022), with its exponent of a half; others, and smoothing the context and what leaves
the activation, gained nothing (docs/quantization.md). Products of one input are smoothed together.

What smoothing leaves of such columns still widens all steps. Some may stay float32: those that the input reaches
farthest in, of every product. How far smoothed, or by how much weight, chose no better.

The same bytes on every CPU and with every NumPy: see codes.py and ranges.py. Here everything is done element by
element, by operations that IEEE 754 rounds in one way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from fractions import Fraction
from math import ceil
from typing import NamedTuple

import numpy as np

from minidistil._options import check_fraction
from minidistil.weights.changing import changed
from minidistil.weights.codes import coded
from minidistil.weights.errors import listing
from minidistil.weights.model_weights import (
    AnyLinear,
    LayerWeights,
    MobileLayerWeights,
    ModelWeights,
    is_tied,
    whole,
)
from minidistil.weights.narrow import Int8Linear, NarrowTable
from minidistil.weights.ranges import estimated_ranges

VERSION = 1
"""Counted up whenever the same float32 weights become other whole numbers: packed files note which made theirs."""

# Not the few token types: their errors are the same in every token, and cost more than all of the words'.
_NARROW_TABLES = ("word_embeddings", "position_embeddings")
_LEAST = np.float32(2.0**-10)  # of the greatest of all columns: what is below is taken for so much
_BOUND = 2.0**40  # of a factor and of its reciprocal


class Product(NamedTuple):
    """A product of the encoder or the vocabulary; several linears where they are one, of one input.

    Attributes:
        name: as it is packed, such as `layer.0.qkv`.
        linears: with weights [N, K].
        normed: whether its input comes out of a norm.
    """

    name: str
    linears: tuple[AnyLinear, ...]
    normed: bool


def quantized(
    weights: ModelWeights,
    ranges: Mapping[str, np.ndarray] | None = None,
    keep: Collection[str] = (),
    *,
    keep_columns: float = 0.0,
    smooth: bool = True,
    limit_pairs: bool = True,
) -> ModelWeights:
    """A model in int8: the products of its encoder and vocabulary, and its tables of embeddings.

    Args:
        weights: float32.
        ranges: of the input of a product, by its name, the greatest magnitude in each column: float32 [K]; None for
            what a rough pass over some words says.
        keep: names of products and tables that stay float32, as `kept` takes them.
        keep_columns: the fraction of each product's columns that stays float32, rounded up to whole ones.
        smooth: whether inputs are smoothed.
        limit_pairs: whether codes are such that AVX2's fastest product is exact.

    Raises:
        TypeError, ValueError: `keep` has a name that nothing has; a fraction that is none, or one of columns that
            nothing tells the ranges of; or weights or ranges that are not finite.
    """
    fraction = check_fraction("keep_columns", keep_columns)
    found = products(weights)
    tables_found = tables(weights)
    float32 = kept(keep, [*(product.name for product in found), *tables_found])
    if ranges is None and (smooth or fraction):
        estimated = estimated_ranges(weights)
        known = {p.name: estimated[id(p.linears[0])] for p in found if id(p.linears[0]) in estimated}
    else:
        known = dict(ranges or {})
    if fraction:
        _require_ranges([product.name for product in found if product.name not in float32 | known.keys()])
    made: dict[int, AnyLinear | NarrowTable] = {}
    for product in found:
        if product.name not in float32:
            reach = known.get(product.name)
            columns = farthest(reach, fraction) if fraction and reach is not None else ()
            smoothed = reach if smooth and product.normed else None
            new = quantize_product(product.linears, smoothed, columns, limit_pairs=limit_pairs)
            made |= {id(w): one for w, one in zip(product.linears, new, strict=True)}
    for name, table in tables_found.items():
        if name not in float32:
            # The words are the projection onto the vocabulary too, as a rule.
            limited = limit_pairs and name.endswith("word_embeddings")
            made[id(table)] = NarrowTable(*coded(whole(table), limit_pairs=limited))
    return changed(
        weights,
        lambda w: made.get(id(w), w),  # type: ignore[arg-type, return-value]
        lambda table: made.get(id(table), table),  # type: ignore[arg-type, return-value]
    )


def quantize_product(
    linears: Sequence[AnyLinear],
    reach: np.ndarray | None = None,
    columns: Sequence[int] | np.ndarray = (),
    *,
    limit_pairs: bool = True,
) -> tuple[Int8Linear, ...]:
    """Products of one input in int8.

    Args:
        linears: float32 [N, K].
        reach: float32 [K], the greatest magnitude in each column of the input, or None not to smooth it.
        columns: those that stay float32, in increasing order.
        limit_pairs: as in `quantized`.
    """
    factor = None if reach is None else _factors(reach, [w.weight for w in linears], columns)
    if len(columns):
        factor = np.ones(linears[0].weight.shape[1], np.float32) if factor is None else factor
        factor[columns] = 0  # so they count neither in a token's step nor in a row's
    smooth = None
    if factor is not None:
        smooth = np.divide(np.float32(1), factor, out=np.zeros_like(factor), where=factor > 0)
    made = []
    for w in linears:
        own = np.take(w.weight, columns, axis=1) if len(columns) else None
        codes, scale = coded(w.weight, factor, limit_pairs=limit_pairs)
        made.append(Int8Linear(codes, scale, w.bias, smooth, own))
    return tuple(made)


def farthest(reach: np.ndarray, fraction: float) -> np.ndarray:
    """The columns that stay float32: those that an input reaches farthest in, of equal ones the first.

    Args:
        reach: float32 [K], the greatest magnitude in each.
        fraction: of all K, as it is written in decimals; above 0 and below 1.

    Returns:
        Their numbers in increasing order, one at least.
    """
    count = ceil(Fraction(str(fraction)) * len(reach))
    return np.sort(np.argsort(-_finite(reach), kind="stable")[:count])


def products(weights: ModelWeights) -> list[Product]:
    """Every product that becomes int8, in the order of the forward pass; layers that share their weights once."""
    found: list[Product] = []
    embeddings = weights.encoder.embeddings
    if embeddings.projection is not None:
        normed = not isinstance(weights.encoder.layers[0], MobileLayerWeights)  # whose projection comes first
        found.append(Product("embeddings.projection", (embeddings.projection,), normed))
    seen: set[int] = set()
    for i, layer in enumerate(weights.encoder.layers):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        of_layer = _mobile_layer(layer) if isinstance(layer, MobileLayerWeights) else _layer(layer)
        found += [product._replace(name=f"layer.{i}.{product.name}") for product in of_layer]
    head = weights.masked_lm
    if head is not None:
        found.append(Product("vocab_transform", (head.vocab_transform,), True))
        # Else it is a table's; or, extended, one that stays float32.
        if not is_tied(head.vocab_projector, embeddings.word_embeddings) and head.extension is None:
            found.append(Product("vocab_projector", (head.vocab_projector,), True))
    return found


def tables(weights: ModelWeights) -> dict[str, np.ndarray | NarrowTable]:
    """Every table that becomes int8, by name: `embeddings.word_embeddings` and that of positions."""
    embeddings = weights.encoder.embeddings
    return {f"embeddings.{name}": getattr(embeddings, name) for name in _NARROW_TABLES}


def kept(keep: Collection[str], names: Collection[str]) -> set[str]:
    """Those of the names that stay float32.

    Args:
        keep: each a name, or consecutive parts of one (`lin2`, `layer.4`), with the wildcards of the shell; `q_lin`,
            `k_lin` and `v_lin` are parts of what is one product.
        names: of products and tables.

    Raises:
        ValueError: naming all that match nothing, and what there is.
    """
    if isinstance(keep, str):
        raise TypeError("keep must be a list of names, got one str")
    found: set[str] = set()
    unknown = []
    for pattern in keep:
        matching = {name for name in names if _matches(pattern, name)}
        found |= matching
        if not matching:
            unknown.append(pattern)
    if unknown:
        none = f"keep has {listing(map(repr, unknown))}, which nothing is called"
        raise ValueError(f"{none}; there are {', '.join(_kinds(names))}")
    return found


def _matches(pattern: str, name: str) -> bool:
    parts = name.split(".")
    spelled = [parts]
    if parts[-1] in _TOGETHER:
        spelled += [[*parts[:-1], one] for one in _TOGETHER[parts[-1]]]
    return any(
        fnmatchcase(".".join(some[first:end]), pattern)
        for some in spelled
        for first in range(len(some))
        for end in range(first + 1, len(some) + 1)
    )


_TOGETHER = {"qkv": ("q_lin", "k_lin", "v_lin"), "qk": ("q_lin", "k_lin")}


def _kinds(names: Collection[str]) -> list[str]:
    """Names with N in the place of their numbers, each once."""
    return list(dict.fromkeys(".".join("N" if part.isdigit() else part for part in name.split(".")) for name in names))


def _layer(w: LayerWeights) -> list[Product]:
    return [
        Product("qkv", (w.q_lin, w.k_lin, w.v_lin), True),
        Product("out_lin", (w.out_lin,), False),
        Product("lin1", (w.lin1,), True),
        Product("lin2", (w.lin2,), False),
    ]


def _mobile_layer(w: MobileLayerWeights) -> list[Product]:
    found = []
    for name in ("input_bottleneck", "attention_bottleneck"):
        if (part := getattr(w, name)) is not None:
            found.append(Product(name, (part.linear,), True))
    found.append(Product("v_lin", (w.v_lin,), True))
    found.append(Product("qk", (w.q_lin, w.k_lin), True))
    found.append(Product("out_lin", (w.out_lin,), False))
    for n, network in enumerate(w.feed_forwards):
        found.append(Product(f"feed_forwards.{n}.lin1", (network.lin1,), True))
        found.append(Product(f"feed_forwards.{n}.lin2", (network.lin2,), False))
    if w.output_bottleneck is not None:
        found.append(Product("output_bottleneck", (w.output_bottleneck.linear,), True))
    return found


def _require_ranges(unknown: Collection[str]) -> None:
    """Raise ValueError, which names the products that nothing tells the ranges of."""
    if unknown:
        names = ", ".join(_kinds(unknown))
        raise ValueError(
            f"keep_columns needs to know how far inputs reach, and nothing tells that of {names}: give texts that do"
        )


def _finite(reach: np.ndarray) -> np.ndarray:
    """float32 [K] without signs, anew."""
    if not np.isfinite(reach).all():
        raise ValueError("ranges of inputs must be finite")
    return np.abs(reach, dtype=np.float32)


def _factors(reach: np.ndarray, weights: list[np.ndarray], without: Sequence[int] | np.ndarray) -> np.ndarray | None:
    """What columns of weights [N, K] are multiplied by, and those of their input divided: float32 [K].

    Those `without` have no say in the others'.
    """
    reach = _finite(reach)
    weight = np.zeros_like(reach)
    for w in weights:
        np.maximum(weight, np.maximum(w.max(axis=0, initial=0), -w.min(axis=0, initial=0)), out=weight)
    if len(without):
        reach[without] = weight[without] = 0
    if not reach.max(initial=0) > 0 or not weight.max(initial=0) > 0:
        return None
    reach, weight = (np.maximum(x, x.max() * _LEAST).astype(np.float64) for x in (reach, weight))
    return np.clip(np.sqrt(reach / weight), 1 / _BOUND, _BOUND).astype(np.float32)
