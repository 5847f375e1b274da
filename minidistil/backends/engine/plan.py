"""What the engine runs for a model: a list of steps for each kind of call, written when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.backends.engine import bert, mobile_bert
from minidistil.backends.engine.planner import LAST, PLAIN, Array, Asked, Planned, Planner, state
from minidistil.kernels.steps.table import Steps
from minidistil.weights.config import Config
from minidistil.weights.model_weights import (
    LayerWeights,
    MobileLayerWeights,
    ModelWeights,
    outline,
)
from minidistil.weights.packing import PackedWeights, first_places


class Family(NamedTuple):
    """How a kind of model is planned; its functions add steps to a planner.

    Attributes:
        embed: what enters the first layer, of the embeddings' weights.
        layer: one layer, of what enters it, its weights and their packed name; and whether only the wanted rows are.
        inputs: arrays that these take besides what every batch has, by the names of their variables.
    """

    embed: Callable[[Planner, Any], Array]
    layer: Callable[[Planner, Array, Any, str, bool], Array]
    inputs: Callable[[PackedBatch], Mapping[str, np.ndarray]] | None = None


FAMILIES: dict[type, Family] = {
    LayerWeights: Family(bert.embed, bert.layer),
    MobileLayerWeights: Family(mobile_bert.embed, mobile_bert.layer, mobile_bert.neighbours),
}
"""By the kind of layer."""


class Written(NamedTuple):
    """A pass.

    Attributes:
        steps: what `run` takes.
        planned: the same, with their names.
        buffers: name -> elements of a row of what the workspace must hold.
    """

    steps: Steps
    planned: list[Planned]
    buffers: Mapping[str, int]


class Stage(NamedTuple):
    """Steps of one name that follow one another.

    Attributes:
        name: what is computed.
        layer: in which layer, or None.
        steps: which they are.
        weights: how many weights they read; every token is multiplied with each of them.
        weight_bytes: how many bytes these take.
        attends: whether it is the attention.
    """

    name: str
    layer: int | None
    steps: slice
    weights: int
    weight_bytes: int
    attends: bool


class Plan:
    """The passes of a model over its packed weights, whose memory must outlive the plan."""

    def __init__(self, config: Config, weights: ModelWeights, packed: PackedWeights) -> None:
        # Their arrays may be let go, but for the embeddings, which are read where they are.
        self._embeddings, self._layers = weights.encoder.embeddings, outline(weights.encoder.layers)
        self._head = outline(weights.masked_lm)
        self._config, self._packed = config, packed
        self._written: dict[Asked | str, Written] = {}
        self._family = FAMILIES[type(self._layers[0])]

    def encode(self, asked: Asked = PLAIN) -> Written:
        """The encoder."""
        return self._written.get(asked) or self._write(asked, self._encode)

    def masked_lm(self) -> Written:
        """The masked-language-model head.

        Raises:
            ValueError: the weights have none.
        """
        if self._head is None:
            raise ValueError("this model was loaded without its masked-language-model head")
        return self._written.get("masked_lm") or self._write(
            "masked_lm", lambda planner: bert.score_vocabulary(planner, self._head)
        )

    def inputs(self, batch: PackedBatch) -> Mapping[str, np.ndarray]:
        """Arrays that this family's steps take besides what every batch has."""
        return {} if self._family.inputs is None else self._family.inputs(batch)

    def stages(self) -> Iterator[Stage]:
        """What a pass consists of."""
        planned = self.encode().planned
        first = 0
        for i, step in enumerate(planned):
            following = planned[i + 1] if i + 1 < len(planned) else None
            if following is None or (step.name, step.layer) != (following.name, following.layer):
                own = planned[first : i + 1]
                weights, size = sum(s.weights for s in own), sum(s.weight_bytes for s in own)
                yield Stage(step.name, step.layer, slice(first, i + 1), weights, size, step.attends)
                first = i + 1

    def token_operations(self) -> float:
        """Operations of a pass's products on one token, two for a multiplication and its addition."""
        return 2.0 * sum(step.weights for step in self.encode().planned)

    def weight_bytes(self) -> int:
        """Bytes of packed weights that a pass reads, those that several layers share counted once."""
        read: dict[int, int] = {}
        for step in self.encode().planned:
            if step.weight_bytes:
                read[step.operands.w.weight] = step.weight_bytes
        return sum(read.values())

    def _encode(self, p: Planner) -> None:
        """Embeddings, all layers, and the last hidden states to the caller."""
        layers, D = self._layers, p.config.dim
        x = self._family.embed(p, self._embeddings)  # [T] -> [T, D]
        for i, (layer, place) in enumerate(zip(layers, first_places(layers), strict=True)):
            p.layer = i
            if p.asked.states:
                p.sum("hidden state", x, into=p.given(state(i), D), meets=False)
            some = p.asked.some and i == len(layers) - 1
            x = self._family.layer(p, x, layer, f"layer.{place}", some)  # [T, D] -> [T or R, D]
        p.layer = None
        p.sum("result", x, into=p.given(LAST, D))

    def _write(self, key: Asked | str, write: Callable[[Planner], None]) -> Written:
        planner = Planner(self._config, self._packed, key if isinstance(key, Asked) else PLAIN)
        write(planner)
        return self._written.setdefault(key, Written(planner.table(), planner.steps, planner.buffers))
