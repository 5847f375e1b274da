"""What a model that learns is to those who train it, whichever backend computes it; both give the same bits.

Legend: `B` sentences, `T` packed tokens, `D` width, `R` rows that the head reads, `N` labels (for masked words `V`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.backends.parameters import ACTIVATIONS, TASKS, Parameters, Task, check_trainable

if TYPE_CHECKING:
    from minidistil.weights.config import Config

__all__ = [
    "ACTIVATIONS",
    "EMBEDDINGS_SITE",
    "HEAD_DENSE_SITE",
    "HEAD_SITE",
    "TASKS",
    "Chance",
    "Chances",
    "Learner",
    "LossWeights",
    "Losses",
    "Parameters",
    "Targets",
    "Task",
    "Update",
    "chance_of",
    "check_chances",
    "check_trainable",
    "layer_sites",
]


class Chances(NamedTuple):
    """Probabilities of dropout, each from 0 to below 1, and the seed of all masks."""

    hidden: float = 0.0
    attention: float = 0.0
    head: float = 0.0
    seed: int = 0


def check_chances(chances: Chances) -> None:
    """Refuse what is no probability from 0 to below 1, and a seed that has no 64 bits (ValueError)."""
    for name, chance in zip(("hidden", "attention", "head"), chances[:3], strict=True):
        if not 0 <= chance < 1:
            raise ValueError(f"the chance of dropout ({name}) must be from 0 to below 1, got {chance!r}")
    if not 0 <= chances.seed < 2**64:
        raise ValueError(f"the seed must be from 0 to 2^64 - 1, got {chances.seed!r}")


class Chance(NamedTuple):
    """Which elements of a matrix are dropped: both backends draw the same words (reference/learning/dropout.py).

    threshold: an element is dropped where its random uint32 is below this. factor: what the others are multiplied by.
    key: two uint32, from the seed. site: the matrix in the model. step: of the run. first_row: the row's number in the
    step of the matrix's first.
    """

    threshold: int
    factor: float
    key: tuple[int, int]
    site: int
    step: int
    first_row: int


EMBEDDINGS_SITE, HEAD_SITE, HEAD_DENSE_SITE = 1, 2, 3
"""Sites of dropout: the embeddings, before the head's last product, and before RoBERTa's first."""


def layer_sites(layer: int) -> tuple[int, int, int]:
    """Sites of a layer's attention probabilities (head h adds h << 16), of its out_lin's output, and of its lin2's."""
    return 16 + 8 * layer, 17 + 8 * layer, 18 + 8 * layer


def chance_of(probability: float, seed: int, site: int, step: int, first_row: int) -> Chance | None:
    """What a site draws with, or None where nothing is dropped."""
    threshold = min(round(probability * 2**32), 2**32 - 1)
    if threshold == 0:
        return None
    factor = float(np.float32(1 / (1 - probability)))
    return Chance(threshold, factor, (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF), site, step, first_row)


class LossWeights(NamedTuple):
    """What each term of the loss is multiplied by, division by the rows or tokens of the whole step included.

    hard: of each row's cross entropy with its label. soft: of each row's KL(teacher || student) at `temperature`, times
    temperature^2. cosine: of each token's 1 - cos(hidden state, teacher's).
    """

    hard: float = 0.0
    soft: float = 0.0
    temperature: float = 1.0
    cosine: float = 0.0


@dataclass(frozen=True)
class Targets:
    """What the model should have said about a batch.

    Attributes:
        rows: int64 [R], tokens that the head reads, each greater than the one before: masked ones, the first of each
            sentence, or all.
        labels: int32 [R], -1 where there is none.
        teacher_logits: float32 [R, N], or None.
        teacher_hidden: float32 [T, D], last hidden states, or None.
        weights: of the terms of the loss.
    """

    rows: np.ndarray
    labels: np.ndarray
    teacher_logits: np.ndarray | None
    teacher_hidden: np.ndarray | None
    weights: LossWeights

    def checked(self, batch: PackedBatch, config: Config, outputs: int, step: int, first_row: int) -> Targets:
        """The same, held against a batch and a model: every learner begins with this, as kernels check nothing.

        Args:
            batch: B sentences, T tokens.
            config: the model's.
            outputs: N.
            step, first_row: of `Learner.accumulate`.

        Returns:
            Targets of the types above; rows and labels, by which kernels find their way, are copies nobody else can
            write to.

        Raises:
            TypeError, ValueError: numbers out of range, arrays that do not fit one another, or a part of `PackedBatch`
                that has no backward pass.
        """
        batch.check(config)
        if batch.input_ids is None or batch.attention_bias is not None:
            raise ValueError("a model learns from input_ids, without inputs_embeds and without an attention bias")
        if not 1 <= step < 2**32 or not 0 <= first_row < 2**32 - batch.tokens:
            raise ValueError(f"a step must be from 1 to 2^32 - 1, and so its rows; got step {step}, row {first_row}")
        rows = batch.rows(self.rows)
        if len(rows) and (np.diff(rows) < 1).any():
            raise ValueError("each of the rows must be greater than the one before")
        labels = np.array(self.labels)
        if labels.dtype.kind not in "iu" or labels.shape != rows.shape:
            raise ValueError(f"labels must be integers [{len(rows)}], got {labels.dtype} {list(labels.shape)}")
        if len(labels) and (labels.max() >= outputs or labels.min() < -1):
            raise ValueError(
                f"labels must be from 0 to {outputs - 1}, or -1 for none; got {labels.min()} to {labels.max()}"
            )
        hard, soft, temperature, cosine = self.weights
        if not all(math.isfinite(w) and w >= 0 for w in (hard, soft, cosine)) or not 0 < temperature < math.inf:
            raise ValueError(f"weights of losses must be 0 or more, and a temperature above 0; got {self.weights}")
        for weight, name in ((soft, "teacher_logits"), (cosine, "teacher_hidden")):
            if weight and getattr(self, name) is None:
                raise ValueError(f"{self.weights} asks for {name}, which are not there")
        return Targets(
            rows,
            labels.astype(np.int32, copy=False),
            _floats(self.teacher_logits, "teacher_logits", (len(rows), outputs)),
            _floats(self.teacher_hidden, "teacher_hidden", (batch.tokens, config.dim)),
            self.weights,
        )


class Losses(NamedTuple):
    """Sums over a batch's rows (cosine: tokens), before their weights; and what was said.

    hard: of cross entropies, in nats, over the `labelled` rows. soft: of KL(teacher || student) at the temperature.
    cosine: of 1 - cos. predicted: int32 [R], the label of the greatest logit.
    """

    hard: float
    soft: float
    cosine: float
    labelled: int
    rows: int
    tokens: int
    predicted: np.ndarray


class Update(NamedTuple):
    """Numbers of one step of AdamW; `step` counts from 1, `largest_norm` None for no clipping."""

    step: int
    learning_rate: float
    decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-6
    largest_norm: float | None = 1.0


class Learner(Protocol):
    """A model that learns: gradients add up over micro-batches, until an update uses them up."""

    parameters: Parameters

    def accumulate(self, batch: PackedBatch, targets: Targets, step: int, first_row: int) -> Losses:
        """Add the gradients of one micro-batch.

        Args:
            batch: B sentences, T tokens.
            targets: what should have come out.
            step: of the run, from 1: the masks of dropout follow from it.
            first_row: tokens of this step's micro-batches before this one.
        """
        ...

    def update(self, update: Update) -> float:
        """Clip, take a step of AdamW, and set the gradients to zero; returns their norm before clipping.

        Where the norm is not finite nothing is changed but the gradients, which become zero.
        """
        ...

    def predict(self, batch: PackedBatch, rows: np.ndarray) -> np.ndarray:
        """Logits float32 [R, N] of the model as it is now, without dropout, with the bits of inference."""
        ...

    def changed(self) -> None:
        """Take note that somebody else has written to `parameters.values`."""
        ...

    def needs(self, tokens: int, sentences: int, longest: int, rows: int) -> dict[str, int]:
        """Bytes for a micro-batch of at most so many: "weights", "optimizer", "activations", "packed"."""
        ...


def _floats(value: np.ndarray | None, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
    if value is None:
        return None
    array = np.ascontiguousarray(value, np.float32)
    if array.shape != shape:
        raise ValueError(f"{name} must be {list(shape)}, got {list(array.shape)}")
    return array
