"""What a page keeps of a pass, so that any of its cells can be told: values and weights, those wanted most first.

A page computes for itself what follows from other numbers without weights: sums, LayerNorms, activations, and the
attention of a head whose queries, keys and values it has. So these are not kept; their checksums are, by which the page
knows that it has the bits of the pass. A product needs a row of weights for each of its columns.

Legend: `n` tokens, `H` heads, `d` width of a head, `K` terms of a product.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Collection, Iterable, Iterator

import numpy as np

from minidistil.study.answers import focus_of
from minidistil.study.numbers import origin, row_of_table, scale_of_row, weights_of_column
from minidistil.study.parts import Attention, Check, Kept, Matrix, Numbers, Portion
from minidistil.study.tables import clearest_heads
from minidistil.study.tracing import Trace
from minidistil.weights.model_weights import Norm

COMPUTED = ("gelu", "relu", "linear")
"""The activations that the page's script has, bit for bit; what others make is kept."""

_WIDE = 4096  # columns of a row that waits until others have found room
_ROUNDS = 8  # in which all heads or tokens come, if there is room


def page_limit(tokens: int) -> int:
    """Bytes that the page of a text may have: 1.5 MB at 64 tokens; beyond, as attention is a square, 4 MB at 128."""
    return 1_497_000 + 39_000 * max(0, tokens - 64)


def packed(values: np.ndarray) -> tuple[str, bytes]:
    """Float32 in the fewest bytes that give back every bit: "int8", "uint8", "float16", "bfloat16" or "float32".

    Weights that were stored in fewer bits than float32 take no more here.
    """
    x = np.ascontiguousarray(values, np.float32)
    bits = x.view(np.uint32)
    with np.errstate(all="ignore"):
        for kind, dtype in (("int8", np.dtype("i1")), ("uint8", np.dtype("u1")), ("float16", np.dtype("<f2"))):
            narrow = x.astype(dtype)
            if np.array_equal(narrow.astype(np.float32).view(np.uint32), bits):
                return kind, narrow.tobytes()
    if not (bits & 0xFFFF).any():
        return "bfloat16", (bits >> 16).astype("<u2").tobytes()
    return "float32", x.astype("<f4").tobytes()


def cost(kept: Kept) -> int:
    """Bytes that it takes in a page, at most."""
    return -(-len(packed(kept.values)[1]) // 3) * 4 + len(kept.name) + 48  # base64; names, numbers and marks of JSON


def check_cost(check: Check) -> int:
    """Bytes that it takes in a page, at most."""
    return len(check.name) + 40


def fitting(portions: Iterable[Portion], room: int) -> list[Portion]:
    """The portions that fit into so many bytes: each one that still does, from the first on."""
    chosen: list[Portion] = []
    there: set[tuple[str, str, int]] = set()
    for portion in portions:
        needed = _needed(portion, there)
        if needed <= room:
            room -= needed
            chosen.append(portion)
            there |= set(map(_key, portion.kept))
    return chosen


def numbers(found: Trace, attention: Attention) -> Numbers:
    """The intermediates of a pass, a cell of each told, and what the page may keep, as much as fills one."""
    token = traced_token(found)
    room = page_limit(found.batch.tokens)
    portions: list[Portion] = []
    there: set[tuple[str, str, int]] = set()
    for portion in _portions(found, token, attention, room):
        if room <= 0:
            break
        room -= _needed(portion, there)
        portions.append(portion)
        there |= set(map(_key, portion.kept))
    return Numbers(token, tuple(_matrix(found, name, token) for name in found), tuple(portions))


def traced_token(found: Trace) -> int:
    """The token that is traced first: the first one where the head reads no other, else the one that is followed."""
    reads_first = found.head == "pooler" or (found.head and found.model.reads_first_only)
    return 0 if reads_first else focus_of(found)


def _matrix(found: Trace, name: str, token: int) -> Matrix:
    value, made = found[name], found.made[name]
    row = _row(value, token if value.shape[-2] > token else 0)
    at = np.unravel_index(int(np.abs(row).argmax()), row.shape)
    cell = (*map(int, at[:-1]), min(token, value.shape[-2] - 1), int(at[-1]))
    kind = "patched" if made.patched else made.kind
    cells = (origin(found, name, cell),)
    return Matrix(name, value.shape, found.describe(name), kind, made.of, made.weights_name, cells)


# Portions, in their order.


def _portions(found: Trace, token: int, attention: Attention, room: int) -> Iterator[Portion]:
    yield from _of_token(found, token, parameters=True)
    heads = clearest_heads(attention)
    yield _of_head(found, *heads[0])
    tokens = [i for i in range(found.batch.tokens) if i != token]
    each = sum(cost(one) for portion in _of_token(found, tokens[0]) for one in portion.kept) if tokens else 0
    others: list[Iterable[Portion]] = [list(_of_token(found, i)) for i in tokens] if each * len(tokens) < room else []
    if each * len(tokens) > room // 2:  # else they have all that heads are made of
        others = [[_of_head(found, *at)] for at in heads[1:]] + others
    pace = -(-len(others) // _ROUNDS)
    products = {name: _columns(found, name, token, heads[0]) for name in found if _is_product(found, name)}
    for i in itertools.count():
        some = others[pace * i : pace * (i + 1)]
        cells = [(name, columns[i]) for name, columns in products.items() if i < len(columns)]
        if not some and not cells:
            return
        yield from (_of_column(found, *cell) for cell in cells)
        if i == 0:
            yield from _wide(found, token)
        yield from itertools.chain.from_iterable(some)


def _of_token(found: Trace, token: int, parameters: bool = False) -> Iterator[Portion]:
    """A token's rows, part by part of the model; with `parameters`, the gains and shifts that all tokens share too."""
    parts: dict[str, list[str]] = {}
    for name in found:
        part, _, rest = name.partition(".")
        parts.setdefault(f"layer {rest.partition('.')[0]}" if part == "layer" else part, []).append(name)
    for names in parts.values():
        kept, checks = [], []
        for name in names:
            value, made = found[name], found.made[name]
            if token >= value.shape[-2]:
                continue
            row = _row(value, token)
            if is_computed(found, name):
                checks.append(Check(name, "row", token, _crc32(row)))
                if parameters and made.kind in ("layer norm", "gain and shift"):
                    kept += _parameters(found, name)
            elif row.size <= _WIDE:
                kept += [Kept(name, "row", token, row), *_table_scale(found, name, token)]
        if kept:
            yield Portion(tuple(kept), tuple(checks))


def is_computed(found: Trace, name: str) -> bool:
    """Whether a page computes an intermediate's rows of others of the same token."""
    made = found.made[name]
    if made.kind == "activation":
        return not made.patched and made.weights in COMPUTED
    return not made.patched and made.kind in ("sum", "layer norm", "gain and shift", "softmax")


def _parameters(found: Trace, name: str) -> list[Kept]:
    w, called = found.made[name].weights, found.made[name].weights_name
    kept = [Kept(f"{called}.weight", "vector", 0, w.weight), Kept(f"{called}.bias", "vector", 0, w.bias)]
    return [*kept, Kept(f"{called}.eps", "vector", 0, np.array([w.eps], np.float32))] if isinstance(w, Norm) else kept


def _table_scale(found: Trace, name: str, token: int) -> list[Kept]:
    """The scale of a row of a table in whole numbers."""
    made = found.made[name]
    if made.kind != "look-up":
        return []
    row = row_of_table(found, name, token)
    scale = scale_of_row(made, row)
    return [] if scale is None else [Kept(f"{made.weights_name}.weight_scale", "weight", row, np.array([scale]))]


def _of_head(found: Trace, layer: int, head: int) -> Portion:
    """Queries, keys and values of a head: all of its attention follows from them, for every token."""
    at, kept, checks = f"layer.{layer}.attention.", [], []
    for name in ("q_lin", "k_lin", "v_lin", "context"):
        x = found[at + name]
        d = x.shape[1] // found.model.config.n_heads
        own = np.ascontiguousarray(x[:, head * d : (head + 1) * d])
        if name == "context":
            checks.append(Check(at + name, "head", head, _crc32(own)))
        else:
            kept.append(Kept(at + name, "head", head, own))
    for name in ("scores", "probabilities"):
        checks.append(Check(at + name, "head", head, _crc32(found[at + name][head])))
    return Portion(tuple(kept), tuple(checks))


def _of_column(found: Trace, name: str, column: int) -> Portion:
    return Portion(tuple(weights_of_column(found.made[name], column)))


def _wide(found: Trace, token: int) -> Iterator[Portion]:
    """Rows of so many columns, those of the vocabulary, that they come after what is said of others."""
    for name, value in found.items():
        if token < value.shape[-2] and _row(value, token).size > _WIDE and not is_computed(found, name):
            yield Portion((Kept(name, "row", token, _row(value, token)),))


def _is_product(found: Trace, name: str) -> bool:
    made = found.made[name]
    return not made.patched and (made.kind == "bias" or "product" in made.kind)


def _columns(found: Trace, name: str, token: int, head: tuple[int, int]) -> list[int]:
    """Columns of a product, those to be told first: the largest, that of the head shown, the least, the middle one."""
    value = found[name]
    row = np.abs(value[min(token, len(value) - 1)])
    order = [int(i) for i in np.argsort(-row, kind="stable")]
    first = [order[0], order[-1], order[len(order) // 2]]
    if name.rpartition(".")[0] == f"layer.{head[0]}.attention" and not name.endswith("out_lin"):
        d = len(row) // found.model.config.n_heads
        first.insert(1, next(i for i in order if i // d == head[1]))
    return list(dict.fromkeys([*first, *order]))


# Helpers


def _row(value: np.ndarray, token: int) -> np.ndarray:
    """A token's row: float32 [n, C] -> [C], [H, n, n] -> [H, n]."""
    return np.ascontiguousarray(value[..., token, :])


def _needed(portion: Portion, there: Collection[tuple[str, str, int]]) -> int:
    """Bytes that a portion takes beside what is there: what several have in common is there once."""
    missing = {_key(one): one for one in portion.kept if _key(one) not in there}
    return sum(map(cost, missing.values())) + sum(map(check_cost, portion.checks))


def _key(kept: Kept) -> tuple[str, str, int]:
    return kept.name, kept.axis, kept.at


def _crc32(x: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(x, "<f4").tobytes())
