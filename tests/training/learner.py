"""A learner that is small enough to be read: logits are rows of one table, so that tests of the loop take no time."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.backends.learning import Losses, Targets, Update


class TableLearner:
    """A token's logits are its row of a table [V, N]; a sentence's the mean of its tokens'. AdamW without its decay."""

    def __init__(self, vocabulary: int, outputs: int, of_sentences: bool = True) -> None:
        n = vocabulary * outputs
        self.parameters: Any = SimpleNamespace(
            places={"table": (0, (vocabulary, outputs))},
            **{name: np.zeros(n, np.float32) for name in ("values", "gradients", "first", "second")},
        )
        self._shape, self._of_sentences = (vocabulary, outputs), of_sentences
        self.poison = 0
        """A step whose losses are no numbers."""

    def _read(self, batch: PackedBatch, rows: np.ndarray) -> list[np.ndarray]:
        """The tokens that each row's logits are the mean of."""
        assert batch.input_ids is not None
        if not self._of_sentences:
            return [batch.input_ids[row : row + 1] for row in rows]
        sentences = np.searchsorted(batch.offsets, rows, side="right")
        return [batch.input_ids[batch.offsets[b - 1] : batch.offsets[b]] for b in sentences]

    def predict(self, batch: PackedBatch, rows: np.ndarray) -> np.ndarray:
        table = self.parameters.values.reshape(self._shape)
        return np.stack([table[ids].mean(axis=0) for ids in self._read(batch, rows)])

    def accumulate(self, batch: PackedBatch, targets: Targets, step: int, first_row: int) -> Losses:
        logits = self.predict(batch, targets.rows)
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        gradients = self.parameters.gradients.reshape(self._shape)
        hard = 0.0
        for ids, chances, label in zip(self._read(batch, targets.rows), p, targets.labels, strict=True):
            if label >= 0:
                hard -= math.log(chances[label])
                slope = chances.copy()
                slope[label] -= 1
                np.add.at(gradients, ids, slope * np.float32(targets.weights.hard / len(ids)))
        if step == self.poison:
            hard = math.nan
        labelled = int((targets.labels >= 0).sum())
        return Losses(hard, 0.0, 0.0, labelled, len(targets.rows), batch.tokens, logits.argmax(axis=1))

    def update(self, update: Update) -> float:
        p = self.parameters
        norm = float(np.sqrt((p.gradients.astype(np.float64) ** 2).sum()))
        p.first += (p.gradients - p.first) * np.float32(1 - update.beta1)
        p.second += (p.gradients**2 - p.second) * np.float32(1 - update.beta2)
        moved = p.first / (np.sqrt(p.second) + np.float32(update.eps))
        p.values -= np.float32(update.learning_rate) * moved
        p.gradients[...] = 0
        return norm

    def changed(self) -> None:
        """Nothing is kept of the values."""

    def needs(self, tokens: int, sentences: int, longest: int, rows: int) -> dict[str, int]:
        return {"weights": 4 * len(self.parameters.values)}
