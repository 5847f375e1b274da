"""The order of an epoch, its steps, and the micro-batches that a learner is given.

Legend: `B` sentences, `T` packed tokens, `R` rows that the head reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.training.examples import Examples
from minidistil.training.settings import Settings
from minidistil.weights.config import Config


class MicroBatch(NamedTuple):
    """What a learner reads at once.

    batch: B sentences, T tokens; masked where words are to be guessed. rows: int64 [R], which the head reads. labels:
    int32 [R], -1 where there is none. numbers: int64 [B], which examples they are.
    """

    batch: PackedBatch
    rows: np.ndarray
    labels: np.ndarray
    numbers: np.ndarray


def held_out_batches(
    examples: Examples, settings: Settings, config: Config, special: tuple[int, int]
) -> Iterator[MicroBatch]:
    """Every example once, in order; masked words are those of epoch 0, the same each time."""
    raise NotImplementedError
