"""How a pass is written: the planner's `linear`, `attend` and `sum` add steps, as the reference's operations compute.

An `Array` stands for activations: where they will lie, how wide they are and how many rows they have, though the
address and the number of rows only a call can tell. What is computed goes `into` an array, which is returned with its
rows.

A product of whole numbers reads coded rows. The planner has them made: by the step that has just summed the rows, or by
one of their own; once for all products that read the same, until the array is written again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from minidistil.kernels import layout
from minidistil.kernels.code import target
from minidistil.kernels.steps.attend import Attend
from minidistil.kernels.steps.code_rows import CodeRows
from minidistil.kernels.steps.coded_product import CodedProduct
from minidistil.kernels.steps.decode_rows import DecodeRows
from minidistil.kernels.steps.product import Product
from minidistil.kernels.steps.sum_rows import GAIN_SHIFT, LAYER_NORM, NO_NORM, SumRows
from minidistil.kernels.steps.table import Coding, Matrix, Number, Packed, PackedInt8, Rows, Steps, Variable
from minidistil.weights.config import Config
from minidistil.weights.model_weights import NoNorm, Norm, Table
from minidistil.weights.narrow import NarrowTable
from minidistil.weights.packing import PackedWeights

# What every call tells. T tokens; of them R are wanted of the last layer; B sentences.
TOKENS, WANTED, SENTENCES = Variable("tokens"), Variable("wanted"), Variable("sentences")
OFFSETS, WANTED_OFFSETS = Variable("offsets"), Variable("wanted_offsets")  # int64 [B + 1]
WORDS, WORD_IDS = Variable("words"), Variable("word_ids")  # float32 [V, E], or [T, E] where embeddings are given
TYPE_IDS, POSITION_IDS, WANTED_ROWS = Variable("type_ids"), Variable("position_ids"), Variable("wanted_rows")  # int32
BIAS, BIAS_HEADS = Variable("bias"), Variable("bias_heads")
LAST = Variable("last")  # float32 [T or R, D]


def state(layer: int) -> Variable:
    """Address of float32 [T, D], what goes into a layer."""
    return Variable(f"state {layer}")


def attentions(layer: int) -> Variable:
    """Address of a layer's probabilities; see `Attend`."""
    return Variable(f"attentions {layer}")


ATTENTION_PLACES = Variable("attention places")


class Asked(NamedTuple):
    """What a call wants, and what it brings.

    Attributes:
        states: the hidden states, besides the last.
        attentions: the probabilities of attention.
        some: the last hidden states of the wanted rows only, and nothing else.
        embeds: the words' embeddings are the caller's rows, where a table in fewer bits would be decoded.
    """

    states: bool = False
    attentions: bool = False
    some: bool = False
    embeds: bool = False


PLAIN = Asked()


@dataclass(frozen=True)
class Array:
    """Activations float32 [rows, columns].

    Attributes:
        matrix: where they lie.
        widths: columns of what stands side by side in it, each in whole panels.
        rows: a number of the call.
        exact: no columns follow the last: they fill no panel.
    """

    matrix: Matrix
    widths: tuple[int, ...]
    rows: Number = TOKENS
    exact: bool = False

    @property
    def columns(self) -> int:
        """How many there are, padding left out."""
        return sum(self.widths)

    @property
    def padded(self) -> int:
        """Columns that a product writes."""
        return self.columns if self.exact else sum(map(layout.padded_columns, self.widths))

    def parts(self, first: int, end: int | None = None) -> Array:
        """Some of what stands side by side."""
        start = sum(map(layout.padded_columns, self.widths[:first]))
        return replace(self._from(start), widths=self.widths[first:end])

    def slice(self, first: int, columns: int) -> Array:
        """Columns of it, wherever they begin."""
        return replace(self._from(first), widths=(columns,))

    def at(self, ids: Variable) -> Rows:
        """Rows of it by number."""
        return Rows(*self.matrix, ids)

    def _from(self, column: int) -> Array:
        return replace(self, matrix=self.matrix._replace(address=self.matrix.address + column * 4))


class Scaling(NamedTuple):
    """The end of `SumRows`: a LayerNorm, or what stands in its place."""

    norm: int
    gain: int = 0
    shift: int = 0
    eps: float = 0.0


class Weight(NamedTuple):
    """A product's weights as they are packed, and how its input is coded where they are whole numbers."""

    packed: Packed | PackedInt8
    coding: Coding = Coding()

    def beyond(self, n: int) -> Weight:
        """The same without its first n columns."""
        return self._replace(packed=self.packed.beyond(n))


class Planned(NamedTuple):
    """A step of a pass.

    Attributes:
        operands: of its operation.
        meets: whether the threads meet after it.
        name: what is computed.
        layer: in which layer, or None.
        weights: how many weights it reads; every row is multiplied with each of them.
        weight_bytes: how many bytes these take.
        attends: whether it is the attention.
    """

    operands: Any
    meets: bool
    name: str
    layer: int | None
    weights: int = 0
    weight_bytes: int = 0
    attends: bool = False


class _Coded(NamedTuple):
    """A coded copy of an array: which, and how it was coded."""

    of: Array
    coding: Coding


class Planner:
    """Writes a pass down.

    Attributes:
        config: the model's numbers.
        asked: what the calls want that it is for.
        layer: the one that it is at, or None.
        steps: what is written.
        buffers: name -> elements of a row, for all that the workspace must hold at once.
    """

    def __init__(self, config: Config, packed: PackedWeights, asked: Asked = PLAIN) -> None:
        self.config, self.asked = config, asked
        self.layer: int | None = None
        self.steps: list[Planned] = []
        self.buffers: dict[str, int] = {}
        self._packed = packed
        self._coded: dict[_Coded, Matrix] = {}
        self._sums: dict[str | int, int] = {}  # a buffer -> the step that summed what lies there now

    def table(self) -> Steps:
        """The steps, for `run`."""
        return Steps([(step.operands, step.meets) for step in self.steps])

    def buffer(self, name: str, *widths: int) -> Array:
        """A part of the workspace, float32 [tokens, ...], for what is `widths` wide; the same memory for one name."""
        ld = layout.leading_dimension(sum(map(layout.padded_columns, widths)))
        self.buffers[name] = max(ld, self.buffers.get(name, 0))
        return Array(Matrix(Variable(name), ld), widths)

    def given(self, variable: Variable, columns: int) -> Array:
        """An array of the caller's, contiguous."""
        return Array(Matrix(variable, columns), (columns,), exact=True)

    def weight(self, name: str) -> Weight:
        """A product's weights by their packed name."""
        place, address = self._packed.places[f"{name}.weight"], self._packed.address
        n = place.shape[0] * layout.PANEL
        weight, bias = address(f"{name}.weight"), address(f"{name}.bias")
        if place.dtype != "I8":
            return Weight(Packed(weight, bias, place.shape[1], n, int(place.dtype == "U16")))
        scale, sums, limited = (address(f"{name}.{kind}") for kind in ("scale", "sums", "limited"))
        smooth, kept, columns = (
            address(f"{name}.{kind}") if f"{name}.{kind}" in self._packed else 0
            for kind in ("smooth", "kept", "columns")
        )
        count = self._packed.places[f"{name}.columns"].shape[0] if columns else 0
        packed = PackedInt8(weight, scale, bias, sums, limited, place.shape[1] * 4, n, kept, count)
        return Weight(packed, Coding(smooth, columns, count))

    def look_up(self, name: str, table: Table, ids: Variable) -> Rows:
        """Rows of a table of embeddings by number: where they lie, or in a buffer of this name if they are decoded."""
        if isinstance(table, np.ndarray):  # which lies where the weights have it
            return Rows(layout.address(table), table.shape[1], ids)
        rows = self.buffer(name, table.shape[1])
        self._decode(table, ids, rows, "embeddings")
        return Rows(*rows.matrix, 0)

    def words(self, table: Table, ids: Variable) -> Rows:
        """The words' embeddings by number, or the caller's in their place."""
        if isinstance(table, np.ndarray) or self.asked.embeds:
            return Rows(WORDS, table.shape[1], ids)
        return self.look_up("words", table, ids)

    def put_words(self, table: Table, ids: Variable, *, into: Array, meets: bool = True) -> Array:
        """The same, into an array."""
        if isinstance(table, np.ndarray) or self.asked.embeds:
            return self.sum("embeddings", self.words(table, ids), into=into, meets=meets)
        self._decode(table, ids, into, "embeddings", meets)
        return into

    def norm(self, name: str, w: Norm | NoNorm) -> Scaling:
        """A norm by its packed name."""
        gain, shift = self._packed.address(f"{name}.weight"), self._packed.address(f"{name}.bias")
        return Scaling(GAIN_SHIFT, gain, shift) if isinstance(w, NoNorm) else Scaling(LAYER_NORM, gain, shift, w.eps)

    def linear(
        self,
        name: str,
        x: Array,
        w: Weight,
        *,
        into: Array,
        activation: str = "linear",
        bias_last: bool = False,
        meets: bool = True,
    ) -> Array:
        """activation(x W^T + b): [M, K] -> [M, N], the first N columns of W."""
        packed, kind = w.packed, layout.ACTIVATIONS[activation]
        # Whole numbers are packed in fours of k, the last of them zeros where k is no multiple.
        k = x.columns if isinstance(packed, Packed) else -(-x.columns // 4) * 4
        if k != packed.k or into.padded > layout.padded_columns(packed.n):
            raise ValueError(f"{name}: {x.columns} to {into.columns} columns by weights of {packed.k} to {packed.n}")
        weights = x.columns * into.columns
        if isinstance(packed, Packed):
            packed = packed._replace(n=into.padded)
            step: NamedTuple = Product(x.matrix, packed, into.matrix, x.rows, kind, int(bias_last))
            weight_bytes = weights * (2 if packed.bf16 else 4)
        else:
            if bias_last:
                raise ValueError(f"{name}: a product of whole numbers has its bias added within")
            coded = self._code(name, x, w.coding)
            packed = packed._replace(k=x.columns, n=into.padded)
            step = CodedProduct(coded, packed, into.matrix, x.rows, kind, target.dot())
            weight_bytes = weights + into.columns * packed.kept_columns * 4
        self._add(step, name, meets, into, weights, weight_bytes)
        return replace(into, rows=x.rows)

    def attend(self, q: Array, k: Array, v: Array, *, into: Array) -> Array:
        """softmax(q k^T / sqrt(d) + bias) v of every sentence and head: [R, I], [T, I] twice -> [R, I]."""
        heads, offsets = self.config.n_heads, WANTED_OFFSETS if q.rows == WANTED else OFFSETS
        head_dim, layer = q.columns // heads, self.layer or 0
        maps = (attentions(layer), ATTENTION_PLACES) if self.asked.attentions else (0, 0)
        step = Attend(
            *(q.matrix, k.matrix, v.matrix, into.matrix),
            *(heads, head_dim, 1 / math.sqrt(head_dim), SENTENCES, OFFSETS, offsets, BIAS, BIAS_HEADS, *maps),
        )
        self._add(step, "attention", True, into, attends=True)
        return replace(into, rows=q.rows)

    def sum(
        self,
        name: str,
        *terms: Array | Rows,
        into: Array,
        rows: Number = TOKENS,
        norm: Scaling | None = None,
        meets: bool = True,
    ) -> Array:
        """norm((a + b) + c), or a alone, or a + b, in this order: [M, N] each; M is `rows` where no array tells it."""
        if any(isinstance(step.operands, DecodeRows) and not step.meets for step in self.steps[-1:]):
            self.steps[-1] = self.steps[-1]._replace(meets=True)  # tables are decoded side by side; now they are read
        for term in terms:
            if isinstance(term, Array):
                rows = term.rows
                if term.columns != into.columns:
                    raise ValueError(f"{name}: {term.columns} columns are added to {into.columns}")
        places = [Rows(*term.matrix, 0) if isinstance(term, Array) else term for term in terms]
        a, b, c = (*places, *[Rows(0, 0, 0)] * (3 - len(places)))
        step = SumRows(into.matrix, a, b, c, rows, into.columns, *(norm or Scaling(NO_NORM)))
        self._add(step, name, meets, into)
        self._sums[_buffer(into)] = len(self.steps) - 1
        return replace(into, rows=rows)

    def _decode(self, table: Table, ids: Variable, into: Array, name: str, meets: bool = False) -> None:
        assert isinstance(table, NarrowTable)
        codes, scale = layout.address(table.codes), layout.address(table.scale)
        self._add(DecodeRows(into.matrix, codes, scale, ids, TOKENS, table.shape[1]), name, meets, into)

    def _code(self, name: str, x: Array, coding: Coding) -> Matrix:
        """Coded rows of x, which the product of this name is the first to read, or one before it."""
        if (found := self._coded.get(_Coded(x, coding))) is not None:
            return found
        # A buffer for each copy of what lies in a buffer, so that it is written and read when that is.
        copies = sum(_buffer(coded.of) == _buffer(x) for coded in self._coded)
        place = f"codes of {_buffer(x)}{f' {copies + 1}' * (copies > 0)}"
        ld = layout.coded_row(x.columns, coding.kept_columns)
        self.buffers[place] = max(ld, self.buffers.get(place, 0))
        out = Matrix(Variable(place), ld)
        summed = self._sums.get(_buffer(x), -1)
        own = self.steps[summed].operands if summed >= 0 else None
        if own is not None and (own.out, own.n, own.rows, own.coded.address) == (x.matrix, x.columns, x.rows, 0):
            self.steps[summed] = self.steps[summed]._replace(operands=own._replace(coded=out, coding=coding))
        else:
            last = self.steps[-1] if self.steps else None
            beside = last is not None and not last.meets and last.name == name
            self._add(CodeRows(x.matrix, out, x.rows, x.columns, coding), name if beside else f"{name}: codes", True)
        self._coded[_Coded(x, coding)] = out
        return out

    def _add(
        self,
        step: NamedTuple,
        name: str,
        meets: bool,
        into: Array | None = None,
        weights: int = 0,
        weight_bytes: int = 0,
        attends: bool = False,
    ) -> None:
        if into is not None:  # what was known of the numbers there
            self._sums.pop(_buffer(into), None)
            self._coded = {coded: out for coded, out in self._coded.items() if _buffer(coded.of) != _buffer(into)}
        self.steps.append(Planned(step, meets, name, self.layer, weights, weight_bytes, attends))


def _buffer(x: Array) -> str | int:
    """Of what an array is a part: a buffer's name, or an address."""
    address = x.matrix.address
    return address.name if isinstance(address, Variable) else address
