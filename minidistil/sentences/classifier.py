"""A sentence encoder whose last module says which label a text has: a classifier on frozen embeddings.

Its folder is sentence-transformers': modules.json ends with a Dense module named "classifier", whose outputs are the
logits of the labels that config.json names (`id2label`). Whoever does not know that name, sentence-transformers among
them, loads an encoder whose `encode` gives the logits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.models.probabilities import softmax
from minidistil.sentences.encoder import SentenceEncoder
from minidistil.sentences.files import SENTENCE, SentenceFiles
from minidistil.weights import CheckpointError


class SentenceClassifier(SentenceEncoder):
    """An encoder, its pooling and modules, and a Dense module that makes logits of what they make.

    `pipeline("text-classification")` takes it like any model with a head for that; `encode` gives the logits.
    """

    heads = ("sequence_classification",)

    def __init__(self, model: Any, folder: Any, files: SentenceFiles | None = None, *options: Any) -> None:
        super().__init__(model, folder, files, *options)
        labels = self.config.num_labels
        if not self._files.classifies or self._modules.width != labels:
            fault = f"the classifier makes {self._modules.width} logits, and config.json names {labels} labels"
            raise CheckpointError(self._files.folder or "", fault)

    @property
    def _backend(self) -> Any:
        return self.model._backend

    def logits_packed(self, batch: PackedBatch) -> np.ndarray:
        """Return the logits float32 [B, N] of packed sentences."""
        logits, _ = self._forward(batch, 0, SENTENCE)
        assert logits is not None
        return logits

    def predict_proba(self, sentences: Iterable[str], **options: Any) -> np.ndarray:
        """Return how probable each label is, float32 [B, N]; the options are those of `encode`."""
        logits: np.ndarray = self.encode(list(sentences), **options)
        return softmax(logits)

    def predict(self, sentences: Iterable[str], **options: Any) -> list[str]:
        """Return the most probable label of each text; the options are those of `encode`."""
        labels = self.config.id2label
        logits: np.ndarray = self.encode(list(sentences), **options)
        return [labels[i] for i in logits.argmax(axis=1).tolist()]
