"""A classifier on frozen embeddings: logistic regression on what `encode` makes of texts. No network learns anything.

The baseline for everything that is trained, and for many texts enough. It is made in the time that the embeddings take.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidistil._float_mode import default_mode
from minidistil._loading import loading
from minidistil._options import check_number
from minidistil.sentences.classifier import SentenceClassifier
from minidistil.sentences.encoder import SentenceEncoder
from minidistil.training.evaluation import Evaluation, evaluate_labels
from minidistil.training.labelled import Labelled, read_labelled
from minidistil.training.logistic import Features, fit, score

DECAYS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Tried one after another, as long as what was held out is told better; of columns of deviation 1."""

_ROUGHLY = 1e-4  # what a gradient is while decays are compared


@dataclass(frozen=True)
class FrozenClassifier:
    """What `fit_classifier` made.

    Attributes:
        folder: of the classifier.
        labels: their names, by number.
        texts: that it was made of.
        decay: of the weights.
        folds: accuracy and cross entropy (nats) of texts that were held out, by decay; {} where it was given.
        held_out: how it does on `held_out`, None without.
        truncated: texts that were too long, and cut.
    """

    folder: Path
    labels: tuple[str, ...]
    texts: int
    decay: float
    folds: dict[float, tuple[float, float]]
    held_out: Evaluation | None
    truncated: int


@default_mode()
def fit_classifier(
    data: Any,
    *,
    start: str | os.PathLike[str] | SentenceEncoder,
    out: str | os.PathLike[str],
    held_out: Any = None,
    text: str = "text",
    label: str = "label",
    labels: Sequence[str] | None = None,
    decay: float | None = None,
    folds: int = 5,
    threads: int | None = None,
    backend: str | None = None,
    show_progress: bool = False,
    **options: Any,
) -> FrozenClassifier:
    """Fit a logistic regression on the embeddings of texts, and write it behind the encoder that made them.

    The folder is one of sentence-transformers, and `pipeline("text-classification")`, `minidistil classify` and `load`
    take it. The same data give the same bytes on every machine.

    Args:
        data: as `read_labelled` takes it: a path, or an iterable of (text, label) or of dictionaries.
        start: an encoder of sentences, or what `load` takes for one; it is not changed.
        out: the folder of the result.
        held_out: data like `data`, to be judged by.
        text, label: columns.
        labels: names in order; unset, those that occur, sorted.
        decay: of the weights; unset, the one of `DECAYS` that tells best what cross-validation holds out.
        folds: parts of the data for that, each with its share of every label.
        threads: to compute embeddings with.
        backend: that computes them.
        show_progress: show a bar on standard error.
        **options: of finding the checkpoint: `revision`, `local_files_only`, ...

    Raises:
        TypeError, ValueError: all that is wrong with the data; fewer than two labels; an impossible `decay`.
        CheckpointError: what is wrong with `start`, or a folder that cannot be written.
    """
    if decay is not None and not (isinstance(decay, (int, float)) and 0 < decay < float("inf")):
        raise ValueError(f"decay must be a positive number, got {decay!r}")
    if (check_number("folds", folds) or 0) < 2:
        raise ValueError(f"folds must be 2 or more, got {folds!r}")
    learned = read_labelled(data, text=text, label=label, labels=labels)
    n_labels = len(learned.names)
    counts = np.bincount(learned.numbers, minlength=n_labels)
    if np.count_nonzero(counts) < 2:
        raise ValueError(f"all {len(learned.texts)} texts have the label {learned.names[int(counts.argmax())]}")
    other = None if held_out is None else read_labelled(held_out, text=text, label=label, labels=learned.names)
    encoder = _encoder(start, threads=threads, backend=backend, **options)

    before = encoder.truncated
    x = _embeddings(encoder, learned, show_progress)
    features = Features(x)
    tried: dict[float, tuple[float, float]] = {}
    begun = None
    if decay is None:
        decay, tried, begun = _best_decay(features, learned.numbers, n_labels, min(folds, int(counts[counts > 0].min())))
    whole = np.ones((1, len(features)), bool)
    weights = fit(features, learned.numbers, n_labels, decay, whole, begun)[0]
    weight = weights[:-1].T / features.deviation  # [N, D]
    bias = weights[-1] - np.add.reduce(weight * features.mean, axis=1)
    cut = encoder.truncated - before
    folder = _write(encoder, out, learned.names, weight.astype(np.float32), bias.astype(np.float32))

    evaluation = None
    if other is not None:
        made = SentenceClassifier.from_folder(folder, threads=threads, backend=backend)
        logits: np.ndarray = made.encode(other.texts, truncation=True, show_progress_bar=show_progress)
        evaluation = evaluate_labels(other.numbers, logits, learned.names)
    return FrozenClassifier(folder, learned.names, len(learned.texts), decay, tried, evaluation, cut)


def _encoder(start: Any, **options: Any) -> SentenceEncoder:
    with loading():
        from minidistil.sentences import CrossEncoder, load
        from minidistil.sentences.streaming import as_encoder

    given = {name: value for name, value in options.items() if value is not None}
    found = load(start, **given) if isinstance(start, (str, os.PathLike)) else start
    if isinstance(found, CrossEncoder):
        raise ValueError(f"{start} is a cross-encoder, which has no embeddings")
    encoder = as_encoder(found)
    if isinstance(encoder, SentenceClassifier):
        raise ValueError(f"{start} is a classifier on embeddings itself: give the encoder that it was made with")
    if encoder.source is None:
        raise ValueError("this encoder was made in memory: save it in a folder, and give that")
    return encoder


def _embeddings(encoder: SentenceEncoder, of: Labelled, show_progress: bool) -> np.ndarray:
    """float32 [B, D]: all that the encoder makes, without a prompt, as the classifier will get it."""
    whole = encoder._modules.width
    x: np.ndarray = encoder.encode(
        of.texts, prompt="", truncate_dim=whole, truncation=True, show_progress_bar=show_progress
    )
    return x


def _best_decay(
    features: Features, labels: np.ndarray, n_labels: int, folds: int
) -> tuple[float, dict[float, tuple[float, float]], np.ndarray]:
    """The decay by cross-validation, what every one that was tried came to, and the folds' mean weights [1, D + 1, N]."""
    if folds < 2:
        raise ValueError("a label has a single text, so that nothing can be held out of it: say decay=..., such as 0.1")
    place = np.empty(len(labels), np.int64)
    for i in range(n_labels):
        own = labels == i
        place[own] = np.arange(np.count_nonzero(own)) % folds
    held = place == np.arange(folds)[:, None]  # [folds, n]
    tried: dict[float, tuple[float, float]] = {}
    best, best_loss, weights, best_weights = DECAYS[0], np.inf, None, None
    for decay in DECAYS:
        weights = fit(features, labels, n_labels, decay, ~held, weights, _ROUGHLY)
        found = score(features, labels, weights, held)
        loss = float(np.add.reduce(found.loss)) / folds
        tried[decay] = float(np.add.reduce(found.accuracy)) / folds, loss
        if loss > best_loss:
            break
        best, best_loss, best_weights = decay, loss, weights
    assert best_weights is not None
    return best, tried, np.add.reduce(best_weights, axis=0, keepdims=True) / folds


def _write(
    encoder: SentenceEncoder, out: str | os.PathLike[str], labels: Sequence[str], weight: np.ndarray, bias: np.ndarray
) -> Path:
    with loading():
        from minidistil.sentences.saving import classifier_files
        from minidistil.tokenization.saving import FILES
        from minidistil.weights.saving import save

    source = encoder.source
    assert source is not None
    source.check()
    save(out, classifier_files(encoder, source, encoder._files, labels, weight, bias), replaces=FILES)
    return Path(out)
