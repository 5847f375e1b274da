"""How a pass is written: the planner's `linear`, `attend` and `sum` add steps, as the reference's operations compute.

An `Array` stands for activations: where they will lie, how wide they are and how many rows they have, though the
address and the number of rows only a call can tell. What is computed goes `into` an array, which is returned with its
rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from minidistil.kernels import layout
from minidistil.kernels.steps.attend import Attend
from minidistil.kernels.steps.product import Product
from minidistil.kernels.steps.sum_rows import GAIN_SHIFT, LAYER_NORM, NO_NORM, SumRows
from minidistil.kernels.steps.table import Matrix, Number, Packed, Rows, Steps, Variable
from minidistil.weights.config import Config
from minidistil.weights.model_weights import NoNorm, Norm, Table
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
    """What a call wants besides the last hidden states; `some`: those of the wanted rows only, and nothing else."""

    states: bool = False
    attentions: bool = False
    some: bool = False


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


class Planned(NamedTuple):
    """A step of a pass.

    Attributes:
        operands: of its operation.
        meets: whether the threads meet after it.
        name: what is computed.
        layer: in which layer, or None.
        weights: how many weights it reads; every row is multiplied with each of them.
        attends: whether it is the attention.
    """

    operands: NamedTuple
    meets: bool
    name: str
    layer: int | None
    weights: int = 0
    attends: bool = False


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

    def weight(self, name: str) -> Packed:
        """A product's weights by their packed name."""
        panels, k, panel = self._packed.places[f"{name}.weight"][1]
        return Packed(self._packed.address(f"{name}.weight"), self._packed.address(f"{name}.bias"), k, panels * panel)

    def look_up(self, table: Table, ids: Variable) -> Rows:
        """Rows of a table of embeddings, which lies where the weights have it, by number."""
        if not isinstance(table, np.ndarray):
            raise NotImplementedError  # TODO
        return Rows(layout.address(table), table.shape[1], ids)

    def norm(self, name: str, w: Norm | NoNorm) -> Scaling:
        """A norm by its packed name."""
        gain, shift = self._packed.address(f"{name}.weight"), self._packed.address(f"{name}.bias")
        return Scaling(GAIN_SHIFT, gain, shift) if isinstance(w, NoNorm) else Scaling(LAYER_NORM, gain, shift, w.eps)

    def linear(
        self,
        name: str,
        x: Array,
        w: Packed,
        *,
        into: Array,
        activation: str = "linear",
        bias_last: bool = False,
        meets: bool = True,
    ) -> Array:
        """activation(x W^T + b): [M, K] -> [M, N], the first N columns of W."""
        if x.columns != w.k or into.padded > layout.padded_columns(w.n):
            raise ValueError(f"{name}: {x.columns} to {into.columns} columns by weights of {w.k} to {w.n}")
        kind = layout.ACTIVATIONS[activation]
        step = Product(x.matrix, w._replace(n=into.padded), into.matrix, x.rows, kind, int(bias_last))
        self._add(step, name, meets, weights=w.k * into.columns)
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
        self._add(step, "attention", True, attends=True)
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
        for term in terms:
            if isinstance(term, Array):
                rows = term.rows
                if term.columns != into.columns:
                    raise ValueError(f"{name}: {term.columns} columns are added to {into.columns}")
        places = [Rows(*term.matrix, 0) if isinstance(term, Array) else term for term in terms]
        a, b, c = (*places, *[Rows(0, 0, 0)] * (3 - len(places)))
        step = SumRows(into.matrix, a, b, c, rows, into.columns, *(norm or Scaling(NO_NORM)))
        self._add(step, name, meets)
        return replace(into, rows=rows)

    def _add(self, step: NamedTuple, name: str, meets: bool, weights: int = 0, attends: bool = False) -> None:
        self.steps.append(Planned(step, meets, name, self.layer, weights, attends))
