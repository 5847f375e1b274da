"""The three ways to make a model, from data to a checkpoint folder: one call each, which goes on after a kill."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUN_FOLDER = "training"
"""Below the folder of the result: the log and the settings; and, until it is finished, tokens and checkpoints."""


@dataclass(frozen=True)
class Trained:
    """What a run made.

    Attributes:
        folder: an ordinary checkpoint: weights, configuration, tokenizer, card.
        steps: of the run.
        resumed: how many of them an earlier, interrupted call had done.
        figures: of the last evaluation on held-out data, by name; {} without such data.
        log: the JSON lines of the run.
    """

    folder: Path
    steps: int
    resumed: int
    figures: Mapping[str, float]
    log: Path


def fine_tune(
    data: Any,
    *,
    start: str | os.PathLike[str],
    out: str | os.PathLike[str],
    held_out: Any = None,
    task: str = "sequence_classification",
    text: str = "text",
    label: str = "label",
    labels: Sequence[str] | None = None,
    threads: int | None = None,
    backend: str | None = None,
    show_progress: bool = False,
    restart: bool = False,
    **settings: Any,
) -> Trained:
    """Teach a checkpoint to classify texts, or their words.

    Interrupted, by whatever means, the same call goes on with its last checkpoint, and ends with the same bytes.

    Args:
        data: a path (.csv, .tsv, .jsonl, .arrow, .parquet), or an iterable of (text, label) or of dictionaries. For
            `task="token_classification"` a text is a list of words, and its label a list of theirs.
        start: the checkpoint to begin with, as `minidistil.load` takes it. A head that fits the labels is gone on with;
            else there is a new one.
        out: the folder of the result.
        held_out: data like `data`, to be judged by.
        task: "sequence_classification" or "token_classification".
        text, label: columns.
        labels: names in order; unset, those that occur, sorted.
        threads: to compute with.
        backend: "engine" or "exact", which has the same bits and is slow.
        show_progress: show a bar on standard error.
        restart: begin anew, whatever an earlier call has left in `out`.
        **settings: `Settings`: epochs, learning_rate, batch_sentences, max_length, seed, ...

    Raises:
        TypeError, ValueError: all that is wrong with the data, or settings; or an earlier run in `out` was another.
        CheckpointError: what is wrong with `start`.
        TrainingError: it cannot go on; says where the last good checkpoint is.
    """
    raise NotImplementedError


def train_masked_lm(
    data: Any,
    *,
    start: str | os.PathLike[str],
    out: str | os.PathLike[str],
    held_out: Any = None,
    text: str = "text",
    threads: int | None = None,
    backend: str | None = None,
    show_progress: bool = False,
    restart: bool = False,
    **settings: Any,
) -> Trained:
    """Teach a checkpoint to guess masked words of texts; see `fine_tune`. A head is added where it has none.

    Args:
        data: a path (lines of text too), or an iterable of texts or of dictionaries.
        start, out, held_out, text, threads, backend, show_progress, restart, **settings: as for `fine_tune`.
    """
    raise NotImplementedError


def distill(
    data: Any,
    *,
    teacher: str | os.PathLike[str],
    out: str | os.PathLike[str],
    start: str | os.PathLike[str] | None = None,
    layers: int | Sequence[int] | None = None,
    held_out: Any = None,
    task: str | None = None,
    text: str = "text",
    label: str = "label",
    labels: Sequence[str] | None = None,
    threads: int | None = None,
    backend: str | None = None,
    show_progress: bool = False,
    restart: bool = False,
    **settings: Any,
) -> Trained:
    """Teach a small model what a large one says; see `fine_tune`.

    Unset, the weights of the loss are the paper's for masked words (5 soft, 2 hard, 1 cosine), and for classification
    0.5 soft, 0.5 hard and 1 cosine.

    Args:
        data: texts with labels or without: without, the teacher's word is all that there is.
        teacher: the checkpoint to learn from, with the task's head.
        out: the folder of the result.
        start: the student to begin with; unset, a DistilBERT of the teacher's embeddings and `layers`.
        layers: how many of the teacher's layers (every second one, for half of them), or which.
        held_out: as for `fine_tune`; agreement with the teacher is told too.
        task: unset, the one that the teacher has a head for.
        text, label, labels, threads, backend, show_progress, restart, **settings: as for `fine_tune`.

    Raises:
        ValueError: the teacher has another vocabulary; or, with a cosine, another width.
    """
    raise NotImplementedError
