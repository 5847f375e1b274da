"""What the engine's learner runs: a list of steps for each kind of call, written when it is first needed."""

from __future__ import annotations

from typing import NamedTuple

from minidistil.backends.engine.learning import encoder, heads
from minidistil.backends.engine.learning.copies import Copies
from minidistil.backends.engine.learning.memory import Buffers
from minidistil.backends.engine.learning.planner import LearningPlanner
from minidistil.backends.engine.planner import WANTED, Array, Planned
from minidistil.backends.learning import Chances
from minidistil.backends.parameters import Parameters
from minidistil.kernels.layout import address
from minidistil.kernels.steps.table import Steps, Variable
from minidistil.kernels.steps.training.adamw import Adamw
from minidistil.kernels.steps.training.sum_squares import SumSquares
from minidistil.weights.config import Config
from minidistil.weights.model_weights import EmbeddingWeights, LayerWeights

SUMS = Variable("sums")  # float32 [chunks of the gradients]
DECAYING, LASTING = Variable("decaying"), Variable("lasting")  # AdamW's numbers, with decay and without


class Kind(NamedTuple):
    """Of a micro-batch: whether its head reads any rows, and whether the hidden states have a teacher."""

    head: bool
    cosine: bool


class Written(NamedTuple):
    """A list of steps.

    Attributes:
        steps: what `train` takes.
        planned: the same, with their names.
        buffers: the memory that they need.
    """

    steps: Steps
    planned: list[Planned]
    buffers: Buffers


class Plan:
    """The passes of a model over its parameters and their copies, whose memory must outlive the plan."""

    def __init__(self, config: Config, parameters: Parameters, copies: Copies, chances: Chances) -> None:
        self._config, self._parameters, self._copies, self._chances = config, parameters, copies, chances
        self._weights = parameters.weights()
        self._written: dict[Kind | str, Written] = {}

    def learn(self, kind: Kind) -> Written:
        """Forward pass, losses, backward pass."""
        if kind not in self._written:
            p = LearningPlanner(self._config, self._parameters, self._copies, self._chances)
            self._learn(p, kind)
            self._written[kind] = self._write(p)
        return self._written[kind]

    def predict(self) -> Written:
        """The forward pass by itself, without dropout."""
        if "predict" not in self._written:
            p = LearningPlanner(self._config, self._parameters, self._copies, Chances(), keeps=False)
            x, *_ = self._encode(p, some=True)
            heads.score(p, x, self._weights, given=True)
            self._written["predict"] = self._write(p)
        return self._written["predict"]

    def norm(self) -> Steps:
        """Sums of squares of all gradients."""
        gradients = self._parameters.gradients
        return Steps([(SumSquares(address(gradients), gradients.size, SUMS), True)], entry="train")

    def update(self) -> Steps:
        """AdamW, and all copies made anew."""
        p = self._parameters
        blocks = [address(block) for block in (p.values, p.gradients, p.first, p.second)]
        steps: list[tuple[NamedTuple, bool]] = []
        for first, end, decays in _runs(p):
            values, gradients, m, v = (block + first * 4 for block in blocks)
            step = Adamw(values, gradients, m, v, end - first, DECAYING if decays else LASTING)
            steps.append((step, False))
        steps[-1] = steps[-1][0], True
        return Steps([*steps, *((step, False) for step in self._copies.steps())], entry="train")

    def pack(self) -> Steps:
        """All copies made."""
        return Steps([(step, False) for step in self._copies.steps()], entry="train")

    def _encode(self, p: LearningPlanner, some: bool) -> tuple[Array, encoder.Embed, list[encoder.Layer]]:
        """Embeddings and all layers, of which the last may compute but the rows that the head reads; both backwards."""
        embeddings = self._weights.encoder.embeddings
        assert isinstance(embeddings, EmbeddingWeights)
        x, embed_backward = encoder.embed(p, embeddings)  # [T] -> [T, D]
        backwards: list[encoder.Layer] = []
        layers = self._weights.encoder.layers
        for i, layer in enumerate(layers):
            assert isinstance(layer, LayerWeights)
            p.layer = i
            last = some and i == len(layers) - 1
            x, backward = encoder.layer(p, x, layer, f"layers.{i}", last)  # [T, D] -> [T, D] or [R, D]
            backwards.append(backward)
        p.layer = None
        return x, embed_backward, backwards

    def _learn(self, p: LearningPlanner, kind: Kind) -> None:
        x, embed_backward, layers_backward = self._encode(p, some=not kind.cosine)
        d, D = x, p.config.dim
        if kind.head:
            read = p.read(x, into=p.buffer("read", D, rows=WANTED)) if kind.cosine else x  # [T, D] -> [R, D]
            logits, head_backward = heads.score(p, read, self._weights)
            d = head_backward(p.cross_entropy(logits))  # [R, N] -> [R, D]
        if kind.cosine:
            d = p.spread(d, into=p.buffer("dx", D))  # [R, D] -> [T, D]; zeros where the head read no row at all
            d = p.cosine(x, d)
        gradient: encoder.Gradient = d, None
        for backward in reversed(layers_backward):
            gradient = backward(gradient)
        p.layer = None
        embed_backward(gradient)

    def _write(self, p: LearningPlanner) -> Written:
        buffers = {name: (each, p.rows[name]) for name, each in p.buffers.items()}
        return Written(p.table(), p.steps, buffers)


def _runs(parameters: Parameters) -> list[tuple[int, int, bool]]:
    """Parts of a block, one after another, that decay or do not: first element, end, which."""
    runs: list[tuple[int, int, bool]] = []
    for name, (first, _) in parameters.places.items():
        decays = parameters.decays(name)
        if runs and runs[-1][2] == decays:
            continue
        if runs:
            runs[-1] = runs[-1][0], first, runs[-1][2]
        runs.append((first, parameters.values.size, decays))
    return runs
