"""How a forward pass that is learnt from, and its backward pass, are written: operations in both directions.

Each has its counterpart `..._backward`, which takes the gradient of what came out, and what was kept.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from minidistil.backends.engine.learning.copies import Copies
from minidistil.backends.engine.planner import OFFSETS, SENTENCES, TOKENS, WANTED, WANTED_ROWS, Array, Planner, Weight
from minidistil.backends.learning import Chances, chance_of
from minidistil.backends.parameters import Parameters
from minidistil.kernels import layout
from minidistil.kernels.layout import address
from minidistil.kernels.steps.narrow_product import NARROW, NarrowProduct
from minidistil.kernels.steps.table import Matrix, Number, Packed, Steps, Variable
from minidistil.kernels.steps.training.activate_rows import ActivateRows
from minidistil.kernels.steps.training.activation_backward import ActivationBackward
from minidistil.kernels.steps.training.attend_backward import AttendBackward
from minidistil.kernels.steps.training.attend_kept import AttendKept
from minidistil.kernels.steps.training.column_sums import ColumnSums
from minidistil.kernels.steps.training.cosine import Cosine
from minidistil.kernels.steps.training.cross_entropy import CrossEntropy
from minidistil.kernels.steps.training.dropout import Chance, Dropout
from minidistil.kernels.steps.training.layer_norm import LayerNorm
from minidistil.kernels.steps.training.layer_norm_backward import LayerNormBackward
from minidistil.kernels.steps.training.norm_gradient import NormGradient
from minidistil.kernels.steps.training.scatter_rows import ScatterRows
from minidistil.kernels.steps.training.weight_gradient import WeightGradient
from minidistil.weights.config import Config
from minidistil.weights.model_weights import Norm

# What every call tells besides the planner's. R rows are read by the head, N logits each.
STEP, FIRST_ROW = Variable("step"), Variable("first_row")  # of dropout's counters
READ_AS = Variable("read_as")  # int32 [T]: a token's number among the rows that the head reads, or -1
LABELS, TEACHER_LOGITS, TEACHER_HIDDEN = Variable("labels"), Variable("teacher_logits"), Variable("teacher_hidden")
LOSS_WEIGHTS, COSINE_WEIGHT = Variable("loss_weights"), Variable("cosine_weight")
STATISTICS, COSINES = Variable("statistics"), Variable("cosines")  # float32 [R, STATISTICS], [T]
LOGITS = Variable("logits")  # float32 [R, N]

_NOTHING = Matrix(0, 0)
_NO_CHANCE = Chance(0, 1.0, 0, 0, 0, 0, 0)


class Grouped(NamedTuple):
    """Tokens by the row of a table that they took (scatter_rows.py): addresses of int32 arrays, and how many rows."""

    order: Variable
    starts: Variable
    ids: Variable
    distinct: Variable

    @classmethod
    def of(cls, table: str) -> Grouped:
        """The variables of a table."""
        return cls(*(Variable(f"{table} {field}") for field in cls._fields))


class Normed(NamedTuple):
    """What the backward pass of a LayerNorm needs: its input [M, D], moments [M, 2], the name of the parameters."""

    x: Array
    moments: Variable
    module: str


class Attended(NamedTuple):
    """What the backward pass of an attention needs."""

    q: Array
    k: Array
    v: Array
    context: Array
    statistics: Variable
    chance: Chance


class LearningPlanner(Planner):
    """Writes both passes down.

    Attributes:
        rows: buffer -> what its rows are counted by.
    """

    def __init__(
        self, config: Config, parameters: Parameters, copies: Copies, chances: Chances, keeps: bool = True
    ) -> None:
        """`keeps`: every layer has memory of its own for what the backward pass reads; else all share it."""
        super().__init__(config, copies.forward)
        self.rows: dict[str, Variable] = {}
        self._parameters, self._copies, self._chances, self._keeps = parameters, copies, chances, keeps

    def table(self) -> Steps:
        """The steps, for `train`."""
        return Steps([(step.operands, step.meets) for step in self.steps], entry="train")

    # Memory

    def buffer(self, name: str, *widths: int, rows: Number = TOKENS) -> Array:
        """A part of the workspace, float32 [rows, ...], for what is `widths` wide; the same memory for one name."""
        array = super().buffer(name, *widths)
        self.rows[name] = _variable(rows)
        return replace(array, rows=rows)

    def kept(self, name: str, *widths: int, rows: Number = TOKENS) -> Array:
        """A part for what the backward pass of this layer reads."""
        array = self.buffer(self._own(name), *widths, rows=self._counted(rows))
        return replace(array, rows=rows)

    def numbers(self, name: str, each: int, rows: Number = TOKENS) -> Variable:
        """The address of `each` numbers for every row, kept."""
        own = self._own(name)
        self.buffers[own], self.rows[own] = each, _variable(self._counted(rows))
        return Variable(own)

    def _own(self, name: str) -> str:
        return f"{name} {self.layer}" if self._keeps and self.layer is not None else name

    def _counted(self, rows: Number) -> Number:
        """What counts the rows of a part, which layers may share: all have tokens, and no more rows than those."""
        return rows if self._keeps or self.layer is None else TOKENS

    def _gradient(self, parameter: str) -> int:
        return address(self._parameters.gradient(parameter))

    # Products

    def product(self, name: str, x: Array, at: str, *, into: Array) -> Array:
        """x W^T + b of the product `at`: [M, K] -> [M, N]; few columns are summed in an order of their own."""
        weight, n = self.weight(at), into.columns
        if n >= NARROW:
            return self.linear(name, x, weight, into=into)
        w = weight.packed
        assert isinstance(w, Packed)
        self._add(NarrowProduct(x.matrix, w._replace(n=n), into.matrix, x.rows), name, True, weights=w.k * n)
        return replace(into, rows=x.rows)

    def product_backward(self, name: str, dy: Array, x: Array, at: str, *, into: Array) -> Array:
        """dX = dY W; dW += dY^T X; db += the sum of dY's rows: [M, N], [M, K] -> [M, K]."""
        first = 0
        for module in self._copies.modules[at]:
            own, n, k = dy.slice(first, module.n).matrix, module.n, module.k
            gradient = WeightGradient(own, x.matrix, dy.rows, n, k, self._gradient(module.weight))
            self._add(gradient, f"{name} dW", False, weights=n * k)
            self._add(ColumnSums(own, dy.rows, n, self._gradient(module.bias)), f"{name} db", False)
            first += n
        return self.linear(f"{name} dX", dy, Weight(self._copies.backward[at]), into=into)

    # Rows

    def read(self, x: Array, *, into: Array) -> Array:
        """The rows that the head reads: [T, D] -> [R, D]."""
        return self.sum("read", x.at(WANTED_ROWS), into=into, rows=WANTED)

    def spread(self, dx: Array, *, into: Array, meets: bool = True) -> Array:
        """Their gradient among zeros, that of all other rows: [R, D] -> [T, D]."""
        return self.sum("read dX", dx.at(READ_AS), into=into, rows=TOKENS, meets=meets)

    def normalize(self, name: str, x: Array, module: str, w: Norm, *, into: Array) -> tuple[Array, Normed]:
        """LayerNorm: [M, D] -> [M, D]."""
        moments = self.numbers(f"{name} moments", 2, x.rows)
        if w.weight.shape != (x.columns,) or w.bias.shape != (x.columns,):
            raise ValueError(f"{module} is for {len(w.weight)} columns, there are {x.columns}")
        gain, shift = address(w.weight), address(w.bias)
        self._add(LayerNorm(x.matrix, into.matrix, moments, x.rows, x.columns, gain, shift, w.eps), name, True)
        return replace(into, rows=x.rows), Normed(x, moments, module)

    def normalize_backward(self, name: str, dy: Array, more: Array | None, kept: Normed, *, into: Array) -> Array:
        """Its gradient, of that of y in one term or two: [M, D] -> [M, D]."""
        x, moments, module = kept
        terms = dy.matrix, _NOTHING if more is None else more.matrix, x.matrix
        weight, bias = f"{module}.weight", f"{module}.bias"
        gradients = self._gradient(weight), self._gradient(bias)
        self._add(NormGradient(*terms, moments, x.rows, x.columns, *gradients), f"{name} dW", False)
        gain = address(self._parameters.value(weight))
        self._add(LayerNormBackward(*terms, into.matrix, moments, x.rows, x.columns, gain), f"{name} dX", True)
        return replace(into, rows=x.rows)

    def activate(self, name: str, x: Array, activation: str, *, into: Array, meets: bool = True) -> Array:
        """activation(x): [M, N] -> [M, N]."""
        kind = layout.ACTIVATIONS[activation]
        self._add(ActivateRows(x.matrix, into.matrix, x.rows, x.columns, kind), name, meets)
        return replace(into, rows=x.rows)

    def activate_backward(self, name: str, dy: Array, x: Array, activation: str) -> Array:
        """dy activation'(x), in the place of dy: [M, N] -> [M, N]."""
        kind = layout.ACTIVATIONS[activation]
        self._add(ActivationBackward(dy.matrix, x.matrix, dy.matrix, x.rows, x.columns, kind), f"{name} dX", True)
        return dy

    def dropout(self, x: Array, site: int, probability: float, *, into: Array) -> Array:
        """Dropout, and its backward pass: [M, N] -> [M, N]; x itself where nothing is dropped."""
        chance = self._chance(site, probability)
        if chance == _NO_CHANCE:
            return x
        self._add(Dropout(x.matrix, into.matrix, x.rows, x.columns, chance), "dropout", True)
        return replace(into, rows=x.rows)

    def hidden_dropout(self, x: Array, site: int, *, into: Array) -> Array:
        """Of hidden states."""
        return self.dropout(x, site, self._chances.hidden, into=into)

    def head_dropout(self, x: Array, site: int) -> Array:
        """Before a product of a head, in place."""
        return self.dropout(x, site, self._chances.head, into=x)

    def _chance(self, site: int, probability: float) -> Chance:
        chance = chance_of(probability, self._chances.seed, site, 0, 0)
        if chance is None:
            return _NO_CHANCE
        return Chance(chance.threshold, chance.factor, *chance.key, site, STEP, FIRST_ROW)

    def scatter(self, table: str, x: Array) -> None:
        """Rows of an embedding table's gradient += those of the tokens that took them: [T, D]."""
        to, n = self._gradient(f"embeddings.{table}.weight"), x.columns
        self._add(ScatterRows(x.matrix, *Grouped.of(table), n, to), f"{table} dW", False)

    # Attention

    def attend_kept(self, q: Array, k: Array, v: Array, site: int, *, into: Array) -> tuple[Array, Attended]:
        """dropout(softmax(q k^T / sqrt(d))) v of every sentence and head: [T, D] -> [T, D]."""
        statistics = self.numbers("statistics", 2 * self.config.n_heads)
        kept = Attended(q, k, v, into, statistics, self._chance(site, self._chances.attention))
        arrays = q.matrix, k.matrix, v.matrix, into.matrix
        step = AttendKept(*(*arrays, *self._heads(q)), *(SENTENCES, OFFSETS, TOKENS, statistics, kept.chance))
        self._add(step, "attention", True, attends=True)
        return into, kept

    def attend_backward(self, dcontext: Array, kept: Attended, *, into: Array) -> Array:
        """Gradients of queries, keys and values, side by side: [T, D] -> [T, 3 D]."""
        forward = kept.q.matrix, kept.k.matrix, kept.v.matrix, kept.context.matrix
        step = AttendBackward(
            *(*forward, dcontext.matrix, into.matrix, *self._heads(kept.q)),
            *(SENTENCES, OFFSETS, TOKENS, kept.statistics, kept.chance),
        )
        self._add(step, "attention dX", True, attends=True)
        return into

    def _heads(self, q: Array) -> tuple[int, int, float]:
        head_dim = q.columns // self.config.n_heads
        return self.config.n_heads, head_dim, 1 / math.sqrt(head_dim)

    # Losses

    def cross_entropy(self, logits: Array) -> Array:
        """The gradient of the logits in their place, and each row's statistics: [R, N] -> [R, N]."""
        N = logits.columns
        teacher = Matrix(TEACHER_LOGITS, N)
        step = CrossEntropy(logits.matrix, teacher, LABELS, logits.rows, N, LOSS_WEIGHTS, STATISTICS)
        self._add(step, "cross entropy", True)
        return logits

    def cosine(self, x: Array, gradient: Array) -> Array:
        """Adds the gradient of 1 - cos(x, teacher's) to that of x: [T, D] -> [T, D]."""
        D = x.columns
        step = Cosine(x.matrix, Matrix(TEACHER_HIDDEN, D), gradient.matrix, x.rows, D, COSINE_WEIGHT, COSINES)
        self._add(step, "cosine", True)
        return gradient


def _variable(rows: Number) -> Variable:
    if not isinstance(rows, Variable):
        raise TypeError(f"rows of a pass are counted by a variable, got {rows}")
    return rows
