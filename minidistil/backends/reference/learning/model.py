"""The whole model under training, in nothing but NumPy: losses, gradients, updates; what the engine's has bit for bit.

Forwards, and backwards in the reverse order; parts.py and heads.py have both ways of each part side by side. Slow.

Legend: `B` sentences, `T` packed tokens, `D` width, `R` rows that the head reads, `N` labels (or words).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np

from minidistil._float_mode import default_mode
from minidistil.backends.batch import PackedBatch
from minidistil.backends.learning import (
    Chances,
    Losses,
    Parameters,
    Targets,
    Task,
    Update,
    check_chances,
    check_trainable,
)
from minidistil.backends.reference.learning.heads import head_of
from minidistil.backends.reference.learning.losses import add_cosine, cosine, cross_entropy, losses_of
from minidistil.backends.reference.learning.optimizer import adamw, clip_factor, norm, sum_squares
from minidistil.backends.reference.learning.parts import Masks, Shape, embed, embed_back, layer, layer_back
from minidistil.backends.reference.model import Reference
from minidistil.weights.model_weights import EmbeddingWeights, LayerWeights, ModelWeights

if TYPE_CHECKING:
    from minidistil.weights.config import Config


class ReferenceLearner:
    """A model that learns; the protocol is `backends.learning.Learner`.

    Args:
        config: of the model.
        weights: to begin with; they are copied.
        task: the head that is trained.
        chances: of dropout.

    Raises:
        ValueError: a model without a backward pass, or chances that are none.
    """

    def __init__(self, config: Config, weights: ModelWeights, task: Task, chances: Chances) -> None:
        check_trainable(config, weights, task)
        check_chances(chances)
        self.config = config
        self.chances = chances
        self.parameters = Parameters(weights, task)
        self.weights, self.gradients = self.parameters.weights(), self.parameters.weight_gradients()
        w, g = self.weights.encoder, self.gradients.encoder
        self.embeddings = cast("tuple[EmbeddingWeights, EmbeddingWeights]", (w.embeddings, g.embeddings))
        self.layers = cast("list[tuple[LayerWeights, LayerWeights]]", list(zip(w.layers, g.layers, strict=True)))
        self.head = head_of(config.model_type, self.weights, self.gradients)
        self.shape = Shape(config.n_heads, config.activation)

    @np.errstate(all="ignore")  # infinities and NaN go through as they do in PyTorch
    @default_mode()
    def accumulate(self, batch: PackedBatch, targets: Targets, step: int, first_row: int) -> Losses:
        """Add the gradients of one micro-batch; see `Learner`."""
        targets = targets.checked(batch, self.config, self.parameters.outputs, step, first_row)
        if not batch.tokens or not (len(targets.rows) or targets.teacher_hidden is not None):  # nothing to learn from
            return Losses(0.0, 0.0, 0.0, 0, 0, batch.tokens, np.empty(0, np.int32))
        masks = Masks(self.chances, step, first_row)

        # Where the hidden states have no teacher, only the rows that the head reads leave the last layer.
        all_rows = targets.teacher_hidden is not None
        x, kept_embeddings = embed(self.embeddings[0], batch, masks)  # [T] -> [T, D]
        kept_layers = []
        for i, (w, _) in enumerate(self.layers):
            rows = None if all_rows or i < len(self.layers) - 1 else targets.rows
            x, kept = layer(x, w, i, self.shape, batch, masks, rows)  # [T, D] -> [T, D] or [R, D]
            kept_layers.append(kept)
        logits, kept_head = self.head.forward(x[targets.rows] if all_rows else x, masks)  # [R, D] -> [R, N]

        dlogits, statistics = cross_entropy(logits, targets.teacher_logits, targets.labels, targets.weights)
        hard, soft, predicted = losses_of(statistics, targets.labels)

        dx, distance, more = self.head.back(dlogits, kept_head, masks), 0.0, None  # [R, N] -> [R, D]
        if targets.teacher_hidden is not None:
            dx_read, dx = dx, np.zeros_like(x)
            dx[targets.rows] = dx_read  # [R, D] -> [T, D]
            factors, cosines = cosine(x, targets.teacher_hidden, targets.weights.cosine)
            dx = add_cosine(dx, x, targets.teacher_hidden, factors)
            for each in cosines.tolist():
                distance += 1 - each
        for i, (w, g) in reversed(list(enumerate(self.layers))):
            dx, more = layer_back(dx, more, kept_layers[i], w, g, i, self.shape, batch, masks)  # [T, D] -> [T, D]
        embed_back(dx if more is None else dx + more, kept_embeddings, *self.embeddings, batch, masks)

        labelled = int((targets.labels >= 0).sum())
        return Losses(hard, soft, distance, labelled, len(targets.rows), batch.tokens, predicted)

    @np.errstate(all="ignore")
    @default_mode()
    def update(self, update: Update) -> float:
        """Clip, take a step of AdamW, and set the gradients to zero; see `Learner`."""
        p = self.parameters
        length = norm(sum_squares(p.gradients))
        if math.isfinite(length):
            clip = clip_factor(length, update.largest_norm)
            for name in p:
                one, gradient, m, v = (p.view(block, name) for block in (p.values, p.gradients, p.first, p.second))
                adamw(one, gradient, m, v, update, clip, p.decays(name))
        p.gradients[:] = 0
        return length

    @np.errstate(all="ignore")
    @default_mode()
    def predict(self, batch: PackedBatch, rows: np.ndarray) -> np.ndarray:
        """Logits float32 [R, N], with the bits of inference; see `Learner`."""
        hidden = Reference(self.config, self.weights).encode(batch, rows=rows).last  # [R, D]
        return self.head.forward(hidden, Masks(Chances(), 0, 0))[0]  # [R, D] -> [R, N]

    def changed(self) -> None:
        """Nothing is to be done: nothing is derived from the weights."""

    def needs(self, tokens: int, sentences: int, longest: int, rows: int) -> dict[str, int]:
        """Bytes for a micro-batch, about: NumPy makes arrays as it goes. See `Learner`."""
        c, n = self.config, self.parameters.outputs
        kept = tokens * (8 * c.dim + c.hidden_dim + 2 * c.n_heads + 4) * c.n_layers + tokens * (c.dim + 2)
        head = rows * (5 * c.dim + 4 * n)
        work = (
            tokens * (6 * c.dim + 3 * c.hidden_dim) + 12 * longest**2
        )  # float64 and masks of one head's probabilities
        block = self.parameters.values.nbytes
        return {"weights": block, "optimizer": 3 * block, "activations": 4 * (kept + head + work), "packed": 0}
