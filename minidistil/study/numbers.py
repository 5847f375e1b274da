"""One number told: what a cell of an intermediate is made of, step by step, and whether that gives its very bits.

Legend: `n` tokens, `D` width, `H` heads, `d` width of a head, `K` terms of a product, `M`, `N` rows and columns.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidistil._float_mode import default_mode
from minidistil.backends.reference import exact, int8
from minidistil.backends.reference.exact import blocks, sum8
from minidistil.study.parts import Block, Kept, Number, Operand, Origin, Step
from minidistil.study.recorder import Made, context_edges
from minidistil.study.tables import shortest
from minidistil.study.tracing import Trace
from minidistil.weights.model_weights import Linear
from minidistil.weights.narrow import BFloat16Linear, Int8Linear, NarrowTable, widened

f32 = np.float32
Index = tuple[int, ...]


@default_mode()
@np.errstate(all="ignore")
def origin(trace: Trace, name: str, index: Sequence[int]) -> Origin:
    """Tell what a cell is made of: the rows that go in, the chain of blocks, the steps, and whether they give its bits.

    Args:
        trace: of `minidistil.study.trace`.
        name: of the intermediate.
        index: of the cell, one number for each axis.

    Raises:
        IndexError: a cell that is not there.
        KeyError: an intermediate that is not there.
    """
    value, made = trace[name], trace.made[name]
    at = tuple(int(i) for i in index)
    if len(at) != value.ndim or not all(0 <= i < size for i, size in zip(at, value.shape, strict=True)):
        raise IndexError(f"{name} has the shape {list(value.shape)}, so it has no cell {list(index)}")
    return _patched(trace, name, at) if made.patched else _TELLERS[made.kind](trace, name, at, made)


def weights_of_column(made: Made, column: int) -> list[Kept]:
    """What a product reads of its weights for one column: a row of them, its bias, and what int8 has beside."""
    w, name = made.weights, made.weights_name
    if isinstance(w, np.ndarray):
        return [Kept(name, "weight", column, w[column])]
    bias = Kept(f"{name}.bias", "weight", column, w.bias[column : column + 1])
    if made.kind == "bias":
        return [bias]
    kept = [Kept(f"{name}.weight", "weight", column, _weight_row(w, column)), bias]
    if isinstance(w, Int8Linear):
        kept.append(Kept(f"{name}.weight_scale", "weight", column, w.scale[column : column + 1]))
        if w.smooth is not None:
            kept.append(Kept(f"{name}.input_smooth", "vector", 0, w.smooth))
        if w.kept is not None:
            kept.append(Kept(f"{name}.weight_kept", "weight", column, w.kept[column]))
    return kept


def _weight_row(w: Any, column: int) -> np.ndarray:
    """Row n of W as float32 [K]; of an `Int8Linear` its codes."""
    if isinstance(w, Int8Linear):
        return w.codes[column].astype(np.float32)
    return widened(w.bits[column]) if isinstance(w, BFloat16Linear) else w.weight[column]


def row_of_table(trace: Trace, name: str, token: int) -> int:
    """Which row of its table of embeddings a token has."""
    ids = {
        "embeddings.word": trace.batch.input_ids,
        "embeddings.position": trace.batch.position_ids,
        "embeddings.token_type": trace.batch.token_type_ids,
    }[name]
    return 0 if ids is None else int(ids[token])


def scale_of_row(made: Made, row: int) -> Any:
    """What the whole numbers of a table's row are multiplied by; None where they are none."""
    whole = isinstance(made.weights, NarrowTable) and made.weights.scale is not None
    return made.weights.scale[row] if whole else None


# How each kind is told. Each recomputes the cell from what it shows.


def _look_up(trace: Trace, name: str, at: Index, made: Made) -> Origin:
    row = row_of_table(trace, name, at[0])
    table = Operand(made.weights_name, (row,), made.weights[row])
    formula, steps, value = f"{made.weights_name}[{row}, {at[1]}]", [], table.values[at[1]]
    if (scale := scale_of_row(made, row)) is not None:
        code = f32(made.weights.codes[row, at[1]])
        steps = [
            _step("code", f"{made.weights_name}.weight[{row}, {at[1]}]", code),
            _step("scale", f"{made.weights_name}.weight_scale[{row}]", scale),
        ]
        value = code * scale
    return _told(trace, name, at, "look-up", formula, value, [table], steps=steps)


def _sum(trace: Trace, name: str, at: Index, made: Made) -> Origin:
    steps, total = [], None
    for i, of in enumerate(made.of):
        part = trace[of][at]
        steps.append(_step(of, of, part))
        total = part if total is None else total + part
        if 0 < i < len(made.of) - 1:
            steps.append(_step("running total", " + ".join(made.of[: i + 1]), total))
    return _told(trace, name, at, "sum", " + ".join(made.of), total, [], steps=steps)


def _trigrams(trace: Trace, name: str, at: Index, made: Made) -> Origin:
    words = trace["embeddings.word"]
    which, column = divmod(at[1], words.shape[1])
    token = at[0] + (1, 0, -1)[which]
    if not 0 <= token < len(words):
        return _told(trace, name, at, "look-up", "0, as there is no such token", f32(0), [])
    row = Operand("embeddings.word", (token,), words[token])
    return _told(trace, name, at, "look-up", f"embeddings.word[{token}, {column}]", words[token, column], [row])


def _product(trace: Trace, name: str, at: Index, made: Made) -> Origin:
    x, column = trace[made.of[0]][at[0]], at[1]
    if isinstance(made.weights, np.ndarray):
        return _chain(trace, name, at, (made.of[0], (at[0],), x), (made.weights_name, (column,), made.weights[column]))
    weight = f"{made.weights_name}.weight", (column,), _weight_row(made.weights, column)
    bias = _step("bias", f"{made.weights_name}.bias[{column}]", made.weights.bias[column])
    return _chain(trace, name, at, (made.of[0], (at[0],), x), weight, bias)


def _whole_numbers(trace: Trace, name: str, at: Index, made: Made) -> Origin:
    """A product of codes (reference/int8.py): a sum of whole numbers, which is exact, and one rounding around it.

    Columns that are kept are zeros in it, and come behind: each is one fma of float32.
    """
    x, column, w = trace[made.of[0]][at[0]], at[1], made.weights
    coded = int8.code_rows((x if w.smooth is None else x * w.smooth)[None])
    codes, zero, scale = coded.codes[0].astype(np.int64), int(coded.zero[0]), coded.scale[0]
    dot, weights = int(codes @ w.codes[column]), int(w.codes[column].sum(dtype=np.int64))
    whole, both = f32(dot - zero * weights), scale * w.scale[column]
    bias = w.bias[column]
    called = made.weights_name
    operands = [
        Operand(made.of[0], at[:1], x),
        *([] if w.smooth is None else [Operand(f"{called}.input_smooth", (), w.smooth)]),
        *([] if w.kept is None else [Operand(f"{called}.weight_kept", (column,), w.kept[column])]),
        Operand(f"codes of {made.of[0]}", at[:1], coded.codes[0]),
        Operand(f"{called}.weight", (column,), w.codes[column]),
    ]
    smoothed = "" if w.smooth is None else " times its smoothing"
    if w.kept is not None:
        smoothed += " (0 in kept columns)"
    steps = [
        _step("scale of the row", f"(largest - smallest number of the row{smoothed}, zero among them) / 255", scale),
        _step("zero point", "the code of 0 in this row", f32(zero)),
        _step("sum", f"sum of code * weight - zero point * sum of weights = {dot} - {zero} * {weights}", whole),
        _step("scale of the weights", f"{called}.weight_scale[{column}]", w.scale[column]),
        _step("scale", "scale of the row * scale of the weights", both),
        _step("bias", f"{called}.bias[{column}]", bias),
    ]
    result = exact.fma(whole[None], both[None], bias[None])[0]
    formula = "fma(sum, scale, bias), rounded once"
    if w.kept is not None:
        formula += "; then y = fma(x, weight_kept, y), column by column"
        steps.append(_step("y of whole numbers", "fma(sum, scale, bias)", result))
        for k, weight in zip(w.columns, w.kept[column], strict=True):
            how = f"fma({shortest(x[k])}, {shortest(weight)}, {shortest(result)})"
            result = exact.fma(x[k, None], weight[None], result[None])[0]
            steps.append(_step(f"y with column {k}", how, result))
    return _told(trace, name, at, "whole-number product", formula, result, operands, steps=steps)


def _narrow(trace: Trace, name: str, at: Index, made: Made) -> Origin:
    """A product of few columns, in which the column's place decides the lanes of its sum."""
    x, column, w = trace[made.of[0]][at[0]], at[1], made.weights
    without = Linear(w.weight, np.zeros_like(w.bias))
    dot = exact.narrow(x[None], without)[0, column]
    lanes = 4 if len(w.bias) == 1 or column < len(w.bias) // 4 * 4 else 8
    operands = [
        Operand(made.of[0], (at[0],), x),
        Operand(f"{made.weights_name}.weight", (column,), w.weight[column]),
    ]
    steps = [
        _step("dot product", f"x . w in {lanes} lanes, each term rounded, the lanes added as a tree", dot),
        _step("bias", f"{made.weights_name}.bias[{column}]", w.bias[column]),
    ]
    return _told(trace, name, at, "product", "x . w + bias", dot + w.bias[column], operands, steps=steps)


def _bias(trace: Trace, name: str, at: Index, made: Made) -> Origin:
    product, bias = trace[made.of[0]][at], made.weights.bias[at[1]]
    steps = [_step(made.of[0], made.of[0], product), _step("bias", f"{made.weights_name}.bias[{at[1]}]", bias)]
    return _told(trace, name, at, "sum", f"{made.of[0]} + bias", product + bias, [], steps=steps)


def _layer_norm(trace: Trace, name: str, at: Index, made: Made) -> Origin:
    x, w, column = trace[made.of[0]][at[0]], made.weights, at[1]
    mean, rstd = exact.moments(x[None], w.eps)
    normalized = exact.normalized(x[None], mean, rstd)[0, column]
    gain, shift = w.weight[column], w.bias[column]
    steps = [
        _step("x", f"{made.of[0]}[{at[0]}, {column}]", x[column]),
        _step("mean", "mean of the row", mean[0]),
        _step("rstd", f"1 / sqrt(variance of the row + {shortest(w.eps)})", rstd[0]),
        _step("normalized", "(x - mean) * rstd", normalized),
        _step("gain", f"{made.weights_name}.weight[{column}]", gain),
        _step("shift", f"{made.weights_name}.bias[{column}]", shift),
    ]
    result = exact.fma(normalized[None], gain[None], shift[None])[0]
    formula = "fma(normalized, gain, shift), rounded once"
    return _told(trace, name, at, "layer_norm", formula, result, [Operand(made.of[0], at[:1], x)], steps=steps)


def _gain(trace: Trace, name: str, at: Index, made: Made) -> Origin:
    x, gain, shift = trace[made.of[0]][at], made.weights.weight[at[1]], made.weights.bias[at[1]]
    steps = [
        _step("x", made.of[0], x),
        _step("gain", f"{made.weights_name}.weight[{at[1]}]", gain),
        _step("x * gain", "x * gain", x * gain),
        _step("shift", f"{made.weights_name}.bias[{at[1]}]", shift),
    ]
    return _told(trace, name, at, "gain and shift", "x * gain + shift", x * gain + shift, [], steps=steps)


def _activation(trace: Trace, name: str, at: Index, made: Made) -> Origin:
    x = trace[made.of[0]][at]
    formula = _FORMULAS.get(made.weights, f"{made.weights}(x)")
    result = exact.activation(made.weights, x[None])[0]
    return _told(trace, name, at, "activation", formula, result, [], steps=[_step("x", made.of[0], x)])


def _scores(trace: Trace, name: str, at: Index, made: Made) -> Origin:
    head, i, j = at
    q, k = _head(trace, made.of[0], head), _head(trace, made.of[1], head)
    scale = f32(1 / math.sqrt(q.shape[1]))
    query, key = (made.of[0], (i, head), q[i]), (made.of[1], (j, head), k[j])
    factor = _step("scale", f"1 / sqrt({q.shape[1]})", scale)
    return _chain(trace, name, at, query, key, after=(factor, lambda dot: dot * scale))


def _softmax(trace: Trace, name: str, at: Index, made: Made) -> Origin:
    head, i, j = at
    row, top, exponentials, total, reciprocal = _row_of_softmax(trace, made.of[0], head, i)
    steps = [
        _step("score", f"{made.of[0]}[{head}, {i}, {j}]", row[j]),
        _step("row maximum", "largest score of the row", top),
        _step("exponential", "exp(score - row maximum)", exponentials[j]),
        _step("row sum", "sum of the row's exponentials, in 8 lanes", total),
        _step("reciprocal", "1 / row sum", reciprocal),
    ]
    operands = [Operand(made.of[0], (head, i), row)]
    result = exponentials[j] * reciprocal
    return _told(trace, name, at, "softmax", "exponential * reciprocal", result, operands, steps=steps)


def _context(trace: Trace, name: str, at: Index, made: Made) -> Origin:
    probabilities, values, scores = made.of
    heads = trace[probabilities].shape[0]
    head, column = divmod(at[1], trace[name].shape[1] // heads)
    i, edges = at[0], context_edges(trace.batch.tokens)
    v = (values, (at[1],), np.ascontiguousarray(_head(trace, values, head)[:, column]))
    if trace.made[probabilities].patched:
        return _chain(trace, name, at, (probabilities, (head, i), trace[probabilities][head, i]), v, edges=edges)
    _, _, exponentials, _, reciprocal = _row_of_softmax(trace, scores, head, i)
    row = (f"exponentials of {scores}", (head, i), exponentials)
    after = _step("reciprocal", "1 / sum of the row's exponentials", reciprocal)
    return _chain(trace, name, at, row, v, edges=edges, after=(after, lambda dot: dot * reciprocal))


def _patched(trace: Trace, name: str, at: Index) -> Origin:
    return _told(trace, name, at, "patched", "put in the place of what was computed", trace[name][at], [])


_TELLERS: dict[str, Callable[[Trace, str, Index, Made], Origin]] = {
    "look-up": _look_up,
    "sum": _sum,
    "trigrams": _trigrams,
    "product": _product,
    "narrow product": _narrow,
    "whole-number product": _whole_numbers,
    "whole-number product with kept columns": _whole_numbers,
    "bias": _bias,
    "layer norm": _layer_norm,
    "gain and shift": _gain,
    "activation": _activation,
    "scores": _scores,
    "softmax": _softmax,
    "context": _context,
}
_FORMULAS = {
    "gelu": "x/2 (1 + erf(x / sqrt 2))",
    "relu": "max(x, 0)",
    "tanh": "tanh(x)",
    "silu": "x / (1 + exp(-x))",
    "linear": "x",
}


def _chain(
    trace: Trace,
    name: str,
    at: Index,
    left: tuple[str, Index, np.ndarray],
    right: tuple[str, Index, np.ndarray],
    bias: Step | None = None,
    edges: list[int] | None = None,
    after: tuple[Step, Callable[[Any], Any]] | None = None,
) -> Origin:
    """A dot product of float32 [K] with float32 [K]: block after block, each one chain of fma from zero.

    The sum starts with the bias, or with the first block; `after` is what the finished sum goes through.
    """
    (_, _, x), (_, _, w) = left, right
    total = None if bias is None else f32(bias.number.value)
    told = []
    for start, stop in itertools.pairwise(edges or blocks(len(x))):
        own = exact.product(x[None, start:stop], w[None, start:stop], [0, stop - start])[0, 0]
        total = own if total is None else total + own
        told.append(Block(start, stop, Number.of(own), Number.of(total)))
    assert total is not None
    steps = [] if bias is None else [bias]
    formula = "x . w" if bias is None else "bias + x . w"
    if after is not None:
        step, compute = after
        steps += [_step("sum", formula, total), step]
        formula, total = f"({formula}) * {step.name}", compute(total)
    operands = [Operand(*left), Operand(*right)]
    return _told(trace, name, at, "product", formula, total, operands, told, steps)


def _row_of_softmax(trace: Trace, scores: str, head: int, i: int) -> tuple[np.ndarray, Any, np.ndarray, Any, Any]:
    """A row of scores, its maximum, its exponentials, their sum and its reciprocal: float32 [n], and scalars."""
    row = trace[scores][head, i]
    top = row.max()
    exponentials = exact.exp_u20(row[None] - top)[0]
    total = sum8(exponentials[None])[0]
    return row, top, exponentials, total, f32(1) / total


def _head(trace: Trace, name: str, head: int) -> np.ndarray:
    """One head's part of queries, keys or values: float32 [n, I] -> [n, d]."""
    x = trace[name]
    d = x.shape[1] // trace.model.config.n_heads
    return x[:, head * d : (head + 1) * d]


def _step(name: str, formula: str, value: Any) -> Step:
    return Step(name, formula, Number.of(value))


def _told(
    trace: Trace,
    name: str,
    at: Index,
    kind: str,
    formula: str,
    recomputed: Any,
    operands: Sequence[Operand],
    told: Sequence[Block] = (),
    steps: Sequence[Step] = (),
) -> Origin:
    value = Number.of(trace[name][at])
    own = tuple(Operand(o.name, o.index, np.array(o.values, np.float32)) for o in operands)
    agrees = Number.of(recomputed).bits == value.bits
    return Origin(name, at, kind, formula, value, own, tuple(told), tuple(steps), agrees)
