"""Figures against counting by hand, over arrays and over batches."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minidistil.backends.batch import PackedBatch
from minidistil.models.auto import AutoModelForSequenceClassification
from minidistil.training.batches import MicroBatch
from minidistil.training.evaluation import (
    agreement,
    cross_entropies,
    evaluate,
    evaluate_labels,
    logits_of,
    perplexity,
)
from tests.bits import assert_same_bits
from tests.pipelines.checkpoints import write_small

RNG = np.random.default_rng(5)
NAMES = ("bad", "good", "neither")
GIVEN = np.array([0, 0, 0, 1, 1, 2, -1, 1])
FOUND = np.array([0, 0, 1, 1, 0, 2, 2, 1])


def _logits(found: np.ndarray, labels: int) -> np.ndarray:
    logits = RNG.standard_normal((len(found), labels)).astype(np.float32)
    logits[np.arange(len(found)), found] = 4
    return logits


def test_labels_are_counted() -> None:
    logits = _logits(FOUND, 3)
    e = evaluate_labels(GIVEN, logits, NAMES)
    assert e.examples == 7
    assert e.accuracy == 5 / 7
    assert e.confusion.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 1]]
    assert [(s.label, s.precision, s.recall, s.examples) for s in e.labels] == [
        ("bad", 2 / 3, 2 / 3, 3), ("good", 2 / 3, 2 / 3, 3), ("neither", 1.0, 1.0, 1),
    ]  # fmt: skip
    assert e.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 1) / 3, rel=1e-15)
    assert e.f1 is None
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    wanted = [-math.log(p[i, g]) for i, g in enumerate(GIVEN) if g >= 0]
    assert e.loss == pytest.approx(sum(wanted) / 7, rel=1e-12)
    assert set(e.figures()) == {"accuracy", "macro_f1", "loss"}


def test_two_labels_have_an_f1_of_the_second() -> None:
    e = evaluate_labels(np.array([1, 1, 1, 0]), _logits(np.array([1, 0, 1, 1]), 2), ("no", "yes"))
    assert e.f1 == pytest.approx(2 / 3)
    assert e.figures()["f1"] == e.f1


def test_a_label_that_nobody_has_or_finds_is_left_out() -> None:
    e = evaluate_labels(np.array([0, 1]), _logits(np.array([0, 1]), 3), NAMES)
    assert [s.label for s in e.labels] == ["bad", "good"]
    assert e.macro_f1 == 1.0
    assert "neither" not in str(e)


def test_it_prints_for_people() -> None:
    assert str(evaluate_labels(GIVEN, _logits(FOUND, 3), NAMES)).splitlines()[-4:] == [
        "right    found: bad  good  neither",
        "bad               2     1        0",
        "good              1     2        0",
        "neither           0     0        1",
    ]


def test_without_labels_there_is_nothing_to_say() -> None:
    with pytest.raises(ValueError, match="no example has a label"):
        evaluate_labels(np.array([-1, -1]), _logits(np.array([0, 1]), 2), NAMES[:2])


def _batches(given: np.ndarray, size: int) -> list[MicroBatch]:
    """Rows, `size` at a time; the batch's ids say which they are."""
    made = []
    for start in range(0, len(given), size):
        rows = np.arange(start, min(start + size, len(given)))
        batch = PackedBatch(rows, rows, None, None, np.array([0, len(rows)]))
        made.append(MicroBatch(batch, np.arange(len(rows)), given[rows].astype(np.int32), rows))
    return made


@pytest.mark.parametrize("size", [1, 3, 8])
@pytest.mark.parametrize("task", ["sequence_classification", "token_classification"])
def test_batches_come_to_the_same_as_all_at_once(size: int, task) -> None:
    logits = _logits(FOUND, 3)
    figures = evaluate(lambda batch, rows: logits[batch.input_ids][rows], _batches(GIVEN, size), task)
    assert figures == evaluate_labels(GIVEN, logits, NAMES).figures()


def test_masked_words_have_a_perplexity() -> None:
    given = RNG.integers(0, 900, 50)
    given[7] = -1
    logits = RNG.standard_normal((50, 900)).astype(np.float32)
    logits[::2, :] += 9 * (np.arange(900) == given[::2, None])
    says = lambda batch, rows: logits[batch.input_ids][rows]  # noqa: E731
    figures = evaluate(says, _batches(given, 7), "masked_lm", says)
    has = given >= 0
    p = np.exp(logits.astype(np.float64))
    loss = -np.log((p / p.sum(axis=1, keepdims=True))[has, given[has]]).mean()
    assert figures["loss"] == pytest.approx(loss, rel=1e-12)
    assert figures["perplexity"] == pytest.approx(math.exp(loss), rel=1e-12)
    assert figures["accuracy"] == np.mean(logits.argmax(axis=1)[has] == given[has])
    assert figures["agreement"] == 1.0
    assert perplexity(0.0) == 1.0


def test_agreement_counts_rows_without_labels_too() -> None:
    given, logits = np.full(8, -1), _logits(FOUND, 3)
    others = logits.copy()
    others[:2] = _logits(2 - FOUND[:2], 3)
    figures = evaluate(
        lambda batch, rows: logits[batch.input_ids][rows],
        _batches(given, 3),
        "sequence_classification",
        lambda batch, rows: others[batch.input_ids][rows],
    )
    assert figures == {"agreement": 6 / 8}
    assert agreement(logits, others) == 6 / 8
    with pytest.raises(ValueError, match="at least one"):
        agreement(logits[:0], others[:0])


def test_a_row_of_no_numbers_has_no_loss() -> None:
    logits = np.array([[1, 2], [np.nan, 0], [3, 3]], np.float32)
    losses = cross_entropies(logits, np.array([1, 1, 0]))
    assert np.isnan(losses).tolist() == [False, True, False]
    assert losses[2] == pytest.approx(math.log(2), rel=1e-15)


def test_logits_of_texts_are_those_of_the_pipeline(tmp_path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(write_small(tmp_path, "sentiment"), threads=1)
    texts = ["the cat", "a cold night in berlin with rain and music", "wine " * 700, "bread"]
    logits = logits_of(model, texts, batch_tokens=20)
    assert logits.shape == (4, 2)
    for i, text in enumerate(texts):
        assert_same_bits(logits_of(model, [text]), logits[i : i + 1])
    from minidistil import pipeline

    found = pipeline("text-classification", model=model, truncation=True, function_to_apply="none", top_k=None)(texts)
    scores = [{one["label"]: one["score"] for one in row} for row in found]
    labels = model.config.id2label.values()
    assert [[row[label] for label in labels] for row in scores] == logits.tolist()
