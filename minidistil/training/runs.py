"""The three ways to make a model, from data to a checkpoint folder: one call each, which goes on after a kill."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from minidistil._options import is_one_of
from minidistil.training.one_run import Common, Trained, read, train
from minidistil.training.settings import Settings
from minidistil.weights.errors import listing
from minidistil.weights.precision import Precision


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
    license: str | None = None,
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
        license: of the result, for its card, as the hub abbreviates it: "apache-2.0".
        **settings: `Settings`: epochs, learning_rate, batch_sentences, max_length, seed, ...

    Raises:
        TypeError, ValueError: all that is wrong with the data, or settings; or an earlier run in `out` was another.
        CheckpointError: what is wrong with `start`.
        TrainingError: it cannot go on; says where the last good checkpoint is.
    """
    if not is_one_of(task, ("sequence_classification", "token_classification")):
        raise ValueError(f'task must be "sequence_classification" or "token_classification", got {task!r}')
    common = Common(out, held_out, text, label, labels, threads, backend, show_progress, restart, license)
    return train(data, start, None, None, Settings.of(task, settings), common)  # type: ignore[arg-type]


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
    license: str | None = None,
    **settings: Any,
) -> Trained:
    """Teach a checkpoint to guess masked words of texts; see `fine_tune`. A head is added where it has none.

    Args:
        data: a path (lines of text too), or an iterable of texts or of dictionaries.
        start, out, held_out, text, threads, backend, show_progress, restart, license, **settings: as for `fine_tune`.
    """
    common = Common(out, held_out, text, "label", None, threads, backend, show_progress, restart, license)
    return train(data, start, None, None, Settings.of("masked_lm", settings, _MASKED), common)


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
    teacher_precision: Precision | None = None,
    threads: int | None = None,
    backend: str | None = None,
    show_progress: bool = False,
    restart: bool = False,
    license: str | None = None,
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
        teacher_precision: of the teacher's weights where it answers, as for `minidistil.load`: int8 is the fastest. A
            student of its layers is made of what the checkpoint has.
        text, label, labels, threads, backend, show_progress, restart, license, **settings: as for `fine_tune`.

    Raises:
        ValueError: the teacher has another vocabulary; or, with a cosine, another width.
    """
    if start is not None and layers is not None:
        raise ValueError("a student is what start names, or made of the teacher's layers: leave one of them out")
    found = read(teacher, teacher_precision)
    if task is None:
        task = next((head for head in _TASKS if getattr(found.weights, head) is not None), None)
        if task is None:
            raise ValueError(f"{teacher}: the teacher has no head of {listing(_TASKS)}: train one first")
    elif not is_one_of(task, _TASKS):
        raise ValueError(f"task must be one of {', '.join(_TASKS)}, got {task!r}")
    common = Common(out, held_out, text, label, labels, threads, backend, show_progress, restart, license)
    defaults = _DISTILLED["masked_lm" if task == "masked_lm" else "labels"]
    chosen = Settings.of(task, settings, defaults)  # type: ignore[arg-type]
    return train(data, start, found, layers, chosen, common, frozenset(settings))


_TASKS = ("sequence_classification", "token_classification", "masked_lm")
_MASKED: dict[str, Any] = {"epochs": 1, "pieces": True}
_DISTILLED: dict[str, dict[str, Any]] = {
    # The weights, the temperature and beta2 of transformers' research project (Sanh et al. 2019).
    "masked_lm": {**_MASKED, "soft": 5.0, "hard": 2.0, "cosine": 1.0, "beta2": 0.98, "learning_rate": 1e-4},
    "labels": {"soft": 0.5, "hard": 0.5, "cosine": 1.0, "epochs": 4, "learning_rate": 1e-4},
}
