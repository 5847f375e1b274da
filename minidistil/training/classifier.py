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
from minidistil.training.data import read_labelled
from minidistil.training.evaluation import Evaluation, evaluate_labels
from minidistil.training.logistic import Features, fit, score
from minidistil.weights.precision import Precision

DECAYS = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
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
    precision: Precision | None = None,
    show_progress: bool = False,
    **options: Any,
) -> FrozenClassifier:
    """Fit a logistic regression on the embeddings of texts, and write it behind the encoder that made them.

    The folder is one of sentence-transformers, and `pipeline("text-classification")`, `minidistil classify` and `load`
    take it. The same data give the same bytes on every machine.

    Args:
        data: a path (.csv, .tsv, .jsonl, .arrow, .parquet), or an iterable of (text, label) or of dictionaries.
        start: an encoder of sentences, or what `load` takes for one; it is not changed.
        out: the folder of the result.
        held_out: data like `data`, to be judged by.
        text, label: columns.
        labels: names in order; unset, those that occur, sorted.
        decay: of the weights; unset, the one of `DECAYS` that tells best what cross-validation holds out.
        folds: parts of the data for that, each with its share of every label.
        threads: to compute embeddings with.
        backend: that computes them.
        precision: of the encoder's weights, as for `load`; the folder gets the checkpoint's own, so say the same again
            to whatever loads it.
        show_progress: show a bar on standard error.
        **options: of finding the checkpoint: `revision`, `local_files_only`, ...

    Raises:
        TypeError, ValueError: all that is wrong with the data; or an impossible option.
        CheckpointError: what is wrong with `start`, or a folder that cannot be written.
    """
    if decay is not None and not (isinstance(decay, (int, float)) and 0 < decay < float("inf")):
        raise ValueError(f"decay must be a positive number, got {decay!r}")
    if (check_number("folds", folds) or 0) < 2:
        raise ValueError(f"folds must be 2 or more, got {folds!r}")
    texts, numbers, names = read_labelled(data, text, label, labels)
    fewest = int(np.bincount(numbers).min())
    if decay is None and fewest < 2:
        raise ValueError("a label has a single text, of which nothing can be held out: say decay, such as decay=0.1")
    other = None if held_out is None else read_labelled(held_out, text, label, names, complete=False)
    encoder = _encoder(start, threads=threads, backend=backend, precision=precision, **options)

    before = encoder.truncated
    features = Features(_embeddings(encoder, texts, show_progress))
    cut = encoder.truncated - before
    tried: dict[float, tuple[float, float]] = {}
    begun = None
    if decay is None:
        decay, tried, begun = _best_decay(features, numbers, len(names), min(folds, fewest))
    whole = np.ones((1, len(texts)), bool)
    weights = fit(features, numbers, len(names), decay, whole, begun)[0]
    weight = weights[:-1].T / features.deviation  # [N, D]
    bias = weights[-1] - np.add.reduce(weight * features.mean, axis=1)
    folder = _write(encoder, out, names, weight.astype(np.float32), bias.astype(np.float32))

    evaluation = None
    if other is not None:
        how: Any = {"threads": threads, "backend": backend, "precision": encoder.precision}
        made = SentenceClassifier.from_folder(folder, **how)
        logits: np.ndarray = made.encode(other[0], truncation=True, show_progress_bar=show_progress)
        evaluation = evaluate_labels(other[1], logits, names)
    return FrozenClassifier(folder, names, len(texts), decay, tried, evaluation, cut)


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


def _embeddings(encoder: SentenceEncoder, texts: Sequence[str], show_progress: bool) -> np.ndarray:
    """float32 [B, D]: all that the encoder makes, without a prompt, as the classifier will get it."""
    whole = encoder._modules.width
    x: np.ndarray = encoder.encode(
        texts, prompt="", truncate_dim=whole, truncation=True, show_progress_bar=show_progress
    )
    return x


def _best_decay(
    features: Features, labels: np.ndarray, n_labels: int, folds: int
) -> tuple[float, dict[float, tuple[float, float]], np.ndarray]:
    """The decay by cross-validation, what each that was tried came to, and the folds' mean weights [1, D + 1, N]."""
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
