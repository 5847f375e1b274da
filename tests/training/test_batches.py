"""Orders, steps and micro-batches; and what is masked, which follows from none of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidistil.tokenization import Tokenizer
from minidistil.training.batches import Batches, MicroBatch
from minidistil.training.examples import Examples
from minidistil.training.masking import Vocabulary, mask
from minidistil.training.schedule import rate
from minidistil.training.settings import Settings
from minidistil.weights.config import Config
from tests.training.conftest import LABELLED
from tests.training.loops import examples_of


@pytest.fixture(scope="module")
def vocabulary(start: Path) -> Vocabulary:
    return Vocabulary.of(Tokenizer.from_pretrained(start), 400)


def random_examples(labels: str = "") -> Examples:
    draw = np.random.default_rng(5)
    lengths = draw.integers(3, 20, 50)
    ids = draw.integers(5, 400, lengths.sum()).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids[offsets[:-1]], ids[offsets[1:] - 1] = 2, 3
    of_tokens = draw.integers(-1, 3, len(ids)).astype(np.int32)
    found = {"": None, "sentences": draw.integers(0, 3, 50).astype(np.int32), "tokens": of_tokens}
    return Examples(ids, offsets.astype(np.int64), found[labels])


def batches(start: Path, task: Any, vocabulary: Vocabulary | None = None, labels: str = "", **given: Any) -> Batches:
    settings = Settings.of(task, given)
    return Batches(random_examples(labels), settings, Config.from_pretrained(start), vocabulary)


def test_every_example_once_an_epoch_in_orders_of_their_own(start: Path) -> None:
    made = batches(start, "sequence_classification", batch_sentences=8)
    orders = [np.concatenate(made.steps(epoch)).tolist() for epoch in (1, 2, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert orders[0] == orders[2] != orders[1]
    assert [len(step) for step in made.steps(1)] == [8] * 6 + [2]
    other = batches(start, "sequence_classification", batch_sentences=8, seed=1)
    assert np.concatenate(other.steps(1)).tolist() != orders[0]


def test_steps_by_tokens(start: Path) -> None:
    made = batches(start, "sequence_classification", batch_tokens=64)
    lengths = made.examples.lengths
    assert all(lengths[step].sum() <= 64 for step in made.steps(3))
    assert sorted(np.concatenate(made.steps(3)).tolist()) == list(range(50))


@pytest.mark.parametrize("micro_tokens", [1, 40, 10_000])
def test_micro_batches_are_a_step_cut_in_parts(start: Path, vocabulary: Vocabulary, micro_tokens: int) -> None:
    """Whatever their size, they hold the same tokens, rows and labels, masks included."""

    def put_together(parts: list[MicroBatch]) -> tuple[list[int], ...]:
        ids = np.concatenate([part.batch.input_ids for part in parts])  # type: ignore[arg-type]
        starts = np.cumsum([0, *(part.batch.tokens for part in parts)])
        rows = np.concatenate([part.rows + at for part, at in zip(parts, starts, strict=False)])
        return ids.tolist(), rows.tolist(), np.concatenate([part.labels for part in parts]).tolist()

    for task, labels in (
        ("masked_lm", ""),
        ("sequence_classification", "sentences"),
        ("token_classification", "tokens"),
    ):
        made = batches(start, task, vocabulary, labels, micro_tokens=micro_tokens)
        whole = batches(start, task, vocabulary, labels, micro_tokens=100_000)
        step = made.steps(2)[0]
        parts = list(made.micro_batches(step, 2))
        assert put_together(parts) == put_together(list(whole.micro_batches(step, 2)))
        assert np.concatenate([part.numbers for part in parts]).tolist() == step.tolist()
        assert len(parts) == {1: 32, 40: len(parts), 10_000: 1}[micro_tokens]
        most, sentences, longest = made.largest()
        assert max(part.batch.tokens for part in parts) <= most
        assert max(part.batch.sentences for part in parts) <= sentences
        assert longest == made.examples.lengths.max()


def test_rows_and_labels_are_the_tasks(start: Path, vocabulary: Vocabulary) -> None:
    made = batches(start, "sequence_classification", None, "sentences")
    part = next(made.micro_batches(np.array([4, 7]), 1))
    assert part.rows.tolist() == part.batch.offsets[:-1].tolist()
    assert made.examples.labels is not None
    assert part.labels.tolist() == made.examples.labels[[4, 7]].tolist()
    made = batches(start, "token_classification", None, "tokens")
    part = next(made.micro_batches(np.array([4, 7]), 1))
    assert part.rows.tolist() == list(range(part.batch.tokens))
    offsets, labels = made.examples.offsets, made.examples.labels
    assert labels is not None
    assert part.labels.tolist() == [*labels[offsets[4] : offsets[5]], *labels[offsets[7] : offsets[8]]]
    made = batches(start, "masked_lm", vocabulary)
    part = next(made.micro_batches(np.array([4, 7]), 1))
    ids = np.concatenate([made.examples.sentence(4), made.examples.sentence(7)])
    assert part.labels.tolist() == ids[part.rows].tolist()
    untouched = np.setdiff1d(np.arange(len(ids)), part.rows)
    assert part.batch.input_ids is not None
    assert part.batch.input_ids[untouched].tolist() == ids[untouched].tolist()


def test_held_out_data_are_read_in_order_and_masked_the_same_each_time(start: Path, vocabulary: Vocabulary) -> None:
    made = batches(start, "masked_lm", vocabulary, micro_tokens=60)
    once, again = ([part.batch.input_ids.tolist() for part in made.in_order()] for _ in range(2))  # type: ignore[union-attr]
    assert once == again
    assert [i for part in made.in_order() for i in part.numbers] == list(range(50))


def test_masks_are_drawn_as_the_paper_has_them(vocabulary: Vocabulary) -> None:
    n = 40_000
    ids = np.resize(vocabulary.ordinary, n)
    read, wanted = mask(ids, vocabulary, 0.15, 3, 1, 0)
    assert len(wanted) / n == pytest.approx(0.15, abs=0.01)
    masked = (read[wanted] == vocabulary.mask).mean()
    same = (read[wanted] == ids[wanted]).mean()
    assert masked == pytest.approx(0.8, abs=0.02)
    assert same == pytest.approx(0.1, abs=0.015)
    others = read[wanted][(read[wanted] != vocabulary.mask) & (read[wanted] != ids[wanted])]
    assert len(others) / len(wanted) == pytest.approx(0.1, abs=0.015)
    assert not np.isin(others, vocabulary.special).any()
    assert len(np.unique(others)) > 200
    outside = np.setdiff1d(np.arange(n), wanted)
    assert np.array_equal(read[outside], ids[outside])


def test_masks_follow_from_seed_epoch_sentence_and_position_alone(vocabulary: Vocabulary) -> None:
    ids = np.resize(vocabulary.ordinary, 200)
    first = mask(ids, vocabulary, 0.15, 3, 1, 7)[1].tolist()
    assert mask(ids[:150], vocabulary, 0.15, 3, 1, 7)[1].tolist() == [i for i in first if i < 150]
    for other in ((4, 1, 7), (3, 2, 7), (3, 1, 8)):
        assert mask(ids, vocabulary, 0.15, *other)[1].tolist() != first


def test_special_tokens_are_never_guessed_and_something_always_is(vocabulary: Vocabulary) -> None:
    for sentence in range(200):
        ids = np.array([2, 77, 3], np.int32)
        read, wanted = mask(ids, vocabulary, 0.15, 0, 1, sentence)
        assert wanted.tolist() == [1]
        assert (read[0], read[2]) == (2, 3)
    ids = np.array([2, 77, 78, 1, 3], np.int32)
    assert mask(ids, vocabulary, 1.0, 0, 1, 0)[1].tolist() == [1, 2]


def test_the_learning_rate_rises_and_falls_in_straight_lines() -> None:
    rates = [rate(step, 20, 1.0, 0.2) for step in range(1, 21)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 16 / 17])
    assert np.diff(rates[3:]) == pytest.approx(np.full(16, -1 / 17))
    assert rate(21, 20, 1.0, 0.2) == 0
    assert [rate(step, 2, 1.0, 0.0) for step in (1, 2)] == [pytest.approx(1.0), pytest.approx(0.5)]
    assert [rate(step, 2, 1.0, 1.0) for step in (1, 2)] == [0.5, 1.0]


def test_examples_of_files_are_batched_too(start: Path, tmp_path: Path) -> None:
    examples = examples_of(start, tmp_path, LABELLED)
    made = Batches(examples, Settings("sequence_classification"), Config.from_pretrained(start), None)
    assert sum(part.batch.sentences for step in made.steps(1) for part in made.micro_batches(step, 1)) == 10
