"""What a model that learns is to those who train it, whichever backend computes it; both give the same bits.

Legend: `B` sentences, `T` packed tokens, `D` width, `R` rows that the head reads, `N` labels (for masked words `V`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.weights.model_weights import ModelWeights

Task = Literal["masked_lm", "sequence_classification", "token_classification"]
"""The heads that can be trained, by the names of `ModelWeights`."""

ACTIVATIONS = ("gelu", "relu", "gelu_new", "silu", "tanh", "linear")
"""Those with a backward pass (other names of the same functions are the same)."""


class Chances(NamedTuple):
    """Probabilities of dropout, each from 0 to below 1, and the seed of all masks."""

    hidden: float = 0.0
    attention: float = 0.0
    head: float = 0.0
    seed: int = 0


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
        rows: int64 [R], tokens that the head reads, in increasing order: masked ones, the first of each sentence, or all.
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


class Parameters:
    """Every parameter of a model under training, with its gradient and AdamW's two moments, each in one block.

    Names are those of `weights.model_weights.PARAMETERS`, with numbers for `{i}`; what is tied stands once. An array
    begins on a cache line; what lies between is zero and stays so.

    Attributes:
        places: name -> position in a block, and shape; in the order of the forward pass.
        values, gradients, first, second: float32 [n], the blocks.
    """

    places: Mapping[str, tuple[int, tuple[int, ...]]]
    values: np.ndarray
    gradients: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def __init__(self, weights: ModelWeights, task: Task) -> None:
        raise NotImplementedError

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError

    def value(self, name: str) -> np.ndarray:
        """The parameter of this name, a view."""
        raise NotImplementedError

    def gradient(self, name: str) -> np.ndarray:
        """Its gradient, a view."""
        raise NotImplementedError

    def decays(self, name: str) -> bool:
        """Whether AdamW lets it decay: not biases, and not LayerNorms."""
        raise NotImplementedError

    def weights(self) -> ModelWeights:
        """The model as it is now: views of the block, which change with it."""
        raise NotImplementedError


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

    def needs(self, tokens: int, sentences: int, longest: int, rows: int) -> dict[str, int]:
        """Bytes for a micro-batch of at most so many: "weights", "optimizer", "activations", "packed"."""
        ...
