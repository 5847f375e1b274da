"""How well a model does what it was trained for: over arrays, and over all that a learner or a model says of batches.

Legend: `R` rows that a head reads, `N` labels (for masked words the vocabulary).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.backends.learning import Task
from minidistil.training.elementary import exp, log

if TYPE_CHECKING:
    from minidistil.training.batches import MicroBatch

Says = Callable[[PackedBatch, np.ndarray], np.ndarray]
"""A batch and int64 [R], rows of it, to logits float32 [R, N]: `Learner.predict`, or a model's head."""

_NUMBERS = 1 << 15  # float64 that are computed with at once: a quarter of a megabyte


@dataclass(frozen=True)
class LabelScores:
    """Of one label: the right part of what was found, the found part of what is right, their harmonic mean."""

    label: str
    precision: float
    recall: float
    f1: float
    examples: int


@dataclass(frozen=True)
class Evaluation:
    """How labels that were found agree with those that are right.

    Attributes:
        examples: that have a label.
        accuracy: the part of them that got it.
        loss: the mean of their cross entropies, in nats.
        macro_f1: the mean of the F1 of the labels that occur.
        f1: with two labels, that of the second; else None.
        labels: scores of each that was given or found.
        confusion: int64 [N, N]; how often label i was found to be label j.
        names: the labels' names.
    """

    examples: int
    accuracy: float
    loss: float
    macro_f1: float
    f1: float | None
    labels: tuple[LabelScores, ...]
    confusion: np.ndarray
    names: tuple[str, ...]

    def figures(self) -> dict[str, float]:
        """Return the figures by name, as a log has them."""
        own = {"accuracy": self.accuracy, "macro_f1": self.macro_f1, "loss": self.loss}
        return own if self.f1 is None else {**own, "f1": self.f1}

    def __str__(self) -> str:
        """The figures, the scores of each label, and which were taken for which; for people."""
        figures = "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in self.figures().items())
        width = max(5, *(len(row.label) for row in self.labels))
        lines = [
            f"{self.examples:,} examples: {figures}",
            "",
            f"{'label':{width}}  precision  recall      F1  examples",
        ]
        for row in self.labels:
            scores = f"{row.precision:9.4f}  {row.recall:6.4f}  {row.f1:6.4f}  {row.examples:8,}"
            lines.append(f"{row.label:{width}}  {scores}")
        return "\n".join([*lines, "", *confusion_lines(self.confusion, self.names)])


def evaluate_labels(given: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> Evaluation:
    """Compare logits with the labels that are right.

    Args:
        given: int [R], -1 where there is none.
        logits: float32 [R, N].
        names: of the N labels.

    Raises:
        ValueError: no row has a label.
    """
    tally = Tally(len(names))
    tally.add(given, logits)
    return tally.evaluation(names)


class Tally:
    """Counts labels, right ones and found ones, batch by batch.

    Args:
        n_labels: N.
    """

    def __init__(self, n_labels: int) -> None:
        self._confusion = np.zeros((n_labels, n_labels), np.int64)
        self._loss = 0.0

    def add(self, given: np.ndarray, logits: np.ndarray) -> None:
        """Count rows: int [R], -1 where there is no label, and logits float32 [R, N]."""
        has = given >= 0
        np.add.at(self._confusion, (given[has], logits[has].argmax(axis=1)), 1)
        self._loss = _added(self._loss, cross_entropies(logits[has], given[has]))

    def __len__(self) -> int:
        return len(self._confusion)

    def evaluation(self, names: Sequence[str]) -> Evaluation:
        """Return what the rows so far come to (ValueError where none has a label)."""
        table = self._confusion
        count = int(table.sum())
        if not count:
            raise ValueError("no example has a label, so that there is nothing to compare with")
        right, given, found = np.diag(table), table.sum(axis=1), table.sum(axis=0)
        precision, recall = right / np.maximum(found, 1), right / np.maximum(given, 1)
        f1 = 2 * right / np.maximum(given + found, 1)
        occurring = np.flatnonzero(given + found).tolist()
        scores = tuple(
            LabelScores(str(names[i]), float(precision[i]), float(recall[i]), float(f1[i]), int(given[i]))
            for i in occurring
        )
        return Evaluation(
            examples=count,
            accuracy=float(right.sum() / count),
            loss=self._loss / count,
            macro_f1=math.fsum(f1[occurring].tolist()) / len(occurring),
            f1=float(f1[1]) if len(names) == 2 else None,
            labels=scores,
            confusion=table.copy(),
            names=tuple(map(str, names)),
        )


def evaluate(
    says: Says, batches: Iterable[MicroBatch], task: Task, teacher_says: Says | None = None
) -> dict[str, float]:
    """Return the figures of a task on batches that the model has not learned from.

    Args:
        says: the model.
        batches: of sentences, the rows to read and what is right there.
        task: of the model.
        teacher_says: another model, to tell how often both say the same.

    Returns:
        For masked words "accuracy", "loss" (mean cross entropy, nats) and "perplexity", its exponential; else what
        `Evaluation.figures` has. With a teacher "agreement", the part of the rows in which both find the same.

    Raises:
        ValueError: no row has a label and there is no teacher.
    """
    tally: Tally | None = None
    right = rows = labelled = agreeing = 0
    loss = 0.0
    for batch in batches:
        logits = says(batch.batch, batch.rows)
        found = logits.argmax(axis=1)
        rows += len(found)
        if teacher_says is not None:
            agreeing += int(np.count_nonzero(found == teacher_says(batch.batch, batch.rows).argmax(axis=1)))
        if task == "masked_lm":
            has = batch.labels >= 0
            labelled += int(np.count_nonzero(has))
            right += int(np.count_nonzero(found[has] == batch.labels[has]))
            loss = _added(loss, cross_entropies(logits[has], batch.labels[has]))
        else:
            tally = Tally(logits.shape[1]) if tally is None else tally
            tally.add(batch.labels, logits)
            labelled += int(np.count_nonzero(batch.labels >= 0))
    if not labelled and not (rows and teacher_says is not None):
        raise ValueError("no example has a label, so that there is nothing to compare with")
    figures = {} if teacher_says is None else {"agreement": agreeing / rows}
    if not labelled:
        return figures
    if tally is not None:
        return {**tally.evaluation(tuple(map(str, range(len(tally))))).figures(), **figures}
    loss /= labelled
    return {"accuracy": right / labelled, "loss": loss, "perplexity": perplexity(loss), **figures}


def perplexity(loss: float) -> float:
    """The exponential of a mean cross entropy in nats: among how many equally probable words the model wavers."""
    return float(exp(np.array([loss]))[0])


def cross_entropies(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return -log softmax(logits)[label] of rows: float32 [R, N] and int [R] to float64 [R]."""
    R, N = logits.shape
    losses = np.empty(R)
    step = max(1, _NUMBERS // max(N, 1))
    for start in range(0, R, step):
        some = logits[start : start + step].astype(np.float64)
        some -= some.max(axis=1, keepdims=True)
        own = some[np.arange(len(some)), labels[start : start + step]]
        losses[start : start + step] = log(np.add.reduce(exp(some), axis=1)) - own
    return losses


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """The part of the rows in which two arrays of logits, [R, N] each, have their greatest in the same place."""
    if a.shape != b.shape or not len(a):
        raise ValueError(f"logits of the same rows are compared, at least one; got {list(a.shape)} and {list(b.shape)}")
    return float(np.mean(a.argmax(axis=1) == b.argmax(axis=1)))


def confusion_lines(confusion: np.ndarray, names: Sequence[str]) -> list[str]:
    """A table for people: what is right down the side, what was found along the top; labels that occur."""
    used = np.flatnonzero(confusion.sum(axis=0) + confusion.sum(axis=1)).tolist()
    side = max(5, *(len(names[i]) for i in used))
    widths = {i: max(len(names[i]), len(f"{confusion[:, i].max():,}")) for i in used}
    head = "  ".join(f"{names[i]:>{widths[i]}}" for i in used)
    lines = [f"{'right':{side}}  found: {head}"]
    for i in used:
        counts = "  ".join(f"{confusion[i, j]:>{widths[j]},}" for j in used)
        lines.append(f"{names[i]:{side}}         {counts}")
    return lines


def _added(total: float, losses: np.ndarray) -> float:
    """Added in order of the rows, one after another: as another grouping in batches adds them."""
    for loss in losses.tolist():
        total += loss
    return total


def logits_of(model: Any, texts: Sequence[str], batch_tokens: int = 2048) -> np.ndarray:
    """Return the logits float32 [R, N] of texts, by a loaded model with a head on whole sentences.

    Args:
        model: what `AutoModelForSequenceClassification.from_pretrained` or `minidistil.load` returns.
        texts: R of them; what is longer than the model takes is cut.
        batch_tokens: most tokens of a call of the model; speed and memory alone depend on it.
    """
    from minidistil.models.inputs import pack_sentences, token_batches
    from minidistil.tokenization import input_limit

    limit = input_limit(model.tokenizer, model.config.longest_sentence)
    ids, _ = model.tokenizer.encode_limited(list(texts), limit)
    lengths = np.array([len(sentence) for sentence in ids], np.int64)
    order = np.argsort(-lengths, kind="stable")
    logits = np.empty((len(ids), model.config.num_labels), np.float32)
    for run in token_batches(lengths[order].tolist(), batch_tokens, None):
        places = order[run]
        logits[places] = model.logits_packed(
            pack_sentences(model.config, [ids[i] for i in places], None, "text {}", places)
        )
    return logits
