"""The order of an epoch, its steps, and the micro-batches that a learner is given.

Legend: `B` sentences, `T` packed tokens, `R` rows that the head reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.models.inputs import pack_sentences, token_batches
from minidistil.training.examples import Examples
from minidistil.training.masking import Vocabulary, mask, philox
from minidistil.training.settings import Settings
from minidistil.weights.config import Config

_STREAM = 2  # of the order, beside that of masks in masking.py


class MicroBatch(NamedTuple):
    """What a learner reads at once.

    batch: B sentences, T tokens; masked, where words are to be guessed. rows: int64 [R], which the head reads. labels:
    int32 [R], -1 where there is none. numbers: int64 [B], which examples they are.
    """

    batch: PackedBatch
    rows: np.ndarray
    labels: np.ndarray
    numbers: np.ndarray


@dataclass(frozen=True)
class Batches:
    """Of examples, for a model, by the settings of a run.

    Attributes:
        examples: what is read.
        settings: of the run.
        config: the model's.
        vocabulary: what masks are made of; None where no words are masked.
    """

    examples: Examples
    settings: Settings
    config: Config
    vocabulary: Vocabulary | None

    def steps(self, epoch: int) -> list[np.ndarray]:
        """The steps of an epoch, counted from 1: for each, int64 [n], the numbers of its examples."""
        B, settings = len(self.examples), self.settings
        drawn = philox(settings.seed, _STREAM, epoch, 0, B)
        order = np.argsort(drawn, kind="stable")
        if settings.batch_tokens is None:
            size = settings.batch_sentences
            return [order[start : start + size] for start in range(0, B, size)]
        lengths = self.examples.lengths[order].tolist()
        return [order[part] for part in token_batches(lengths, settings.batch_tokens)]

    def micro_batches(self, numbers: np.ndarray, epoch: int) -> Iterator[MicroBatch]:
        """Some examples, in as many parts as `micro_tokens` asks for; masks are the epoch's."""
        lengths = self.examples.lengths[numbers].tolist()
        for part in token_batches(lengths, self.settings.micro_tokens):
            yield self._packed(numbers[part], epoch)

    def in_order(self) -> Iterator[MicroBatch]:
        """Every example once, in the order of the data; masked words are those of epoch 0, the same each time."""
        return self.micro_batches(np.arange(len(self.examples)), 0)

    def largest(self) -> tuple[int, int, int]:
        """The most tokens, sentences and tokens of a sentence that a micro-batch may have."""
        lengths = np.sort(self.examples.lengths)
        longest = int(lengths[-1])
        tokens = max(longest, min(self.settings.micro_tokens, int(lengths.sum())))
        most = int(np.searchsorted(np.cumsum(lengths), self.settings.micro_tokens, side="right"))
        if self.settings.batch_tokens is None:
            most = min(most, self.settings.batch_sentences)
        return tokens, max(most, 1), longest

    def _packed(self, numbers: np.ndarray, epoch: int) -> MicroBatch:
        examples, task = self.examples, self.settings.task
        sentences: Sequence[np.ndarray] = [examples.sentence(i) for i in numbers]
        starts = np.concatenate([[0], np.cumsum([len(s) for s in sentences])])
        if task == "masked_lm":
            assert self.vocabulary is not None
            seed, chance = self.settings.seed, self.settings.mask_chance
            made = [
                mask(ids, self.vocabulary, chance, seed, epoch, int(i))
                for ids, i in zip(sentences, numbers, strict=True)
            ]
            rows = np.concatenate([start + wanted for start, (_, wanted) in zip(starts, made, strict=False)])
            labels = np.concatenate(sentences)[rows]
            sentences = [ids for ids, _ in made]
        elif task == "sequence_classification":
            rows = starts[:-1]
            labels = np.full(len(rows), -1, np.int32) if examples.labels is None else examples.labels[numbers]
        else:
            rows = np.arange(starts[-1])
            labels = np.full(len(rows), -1, np.int32)
            if examples.labels is not None:
                ends = zip(examples.offsets[numbers], examples.offsets[numbers + 1], strict=True)
                labels = np.concatenate([examples.labels[a:b] for a, b in ends])
        batch = pack_sentences(self.config, sentences, name="example {}", numbers=numbers)
        return MicroBatch(batch, rows.astype(np.int64), labels.astype(np.int32), numbers)
