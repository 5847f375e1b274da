"""A model that learns, in NumPy: its forward pass is that of inference, its updates do what they say, and it learns."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minidistil.backends.batch import PackedBatch
from minidistil.backends.choose import create_learner
from minidistil.backends.learning import TASKS, Chances, LossWeights, Targets, Task, Update
from minidistil.backends.reference import Reference
from minidistil.backends.reference.learning.model import ReferenceLearner
from minidistil.backends.reference.learning.parts import Masks, Shape, embed, layer
from minidistil.models import heads
from tests.bits import assert_same_bits
from tests.learning import small

EVERY = [(family, task) for family in ("DistilBert", "Bert", "Roberta") for task in TASKS]
NONE = Chances()
ALL = LossWeights(hard=0.3, soft=0.2, temperature=2.0, cosine=0.1)


def learner_of(
    folder: Path, family: str = "DistilBert", task: Task = "masked_lm", chances: Chances = NONE
) -> tuple[ReferenceLearner, PackedBatch, Targets]:
    values = small.config(family, task)
    config, weights = small.model(folder, values)
    learner = ReferenceLearner(config, weights, task, chances)
    batch = small.batch(values, (5, 1, 9))
    return learner, batch, small.targets(batch, task, learner.parameters.outputs, config.dim, ALL)


def said(learner: ReferenceLearner, batch: PackedBatch, rows: np.ndarray) -> np.ndarray:
    """The logits of inference, through the heads of `minidistil.models`."""
    backend, weights = Reference(learner.config, learner.parameters.weights()), learner.parameters.weights()
    hidden = backend.encode(batch).last[rows]
    if weights.masked_lm is not None:
        return backend.masked_lm(hidden)
    if weights.token_classification is not None:
        return heads.token_classification(backend, hidden, weights.token_classification)
    return heads.sequence_classification(backend, hidden, weights.sequence_classification)


@pytest.mark.parametrize(("family", "task"), EVERY)
def test_predictions_have_the_bits_of_inference_before_and_after_a_step(
    family: str, task: Task, tmp_path: Path
) -> None:
    learner, batch, targets = learner_of(tmp_path, family, task, Chances(0.1, 0.1, 0.1))
    before = learner.predict(batch, targets.rows)
    assert_same_bits(before, said(learner, batch, targets.rows))
    learner.accumulate(batch, targets, 1, 0)
    learner.update(Update(1, 1e-2))
    after = learner.predict(batch, targets.rows)
    assert_same_bits(after, said(learner, batch, targets.rows))
    assert (before != after).mean() > 0.9


@pytest.mark.parametrize("family", small.FAMILIES)
def test_training_without_dropout_computes_what_inference_does(family: str, tmp_path: Path) -> None:
    learner, batch, _ = learner_of(tmp_path, family)
    weights, masks = learner.parameters.weights(), Masks(Chances(), 1, 0)
    want = Reference(learner.config, weights).encode(batch, hidden_states=True).hidden_states
    x, _ = embed(weights.encoder.embeddings, batch, masks)
    assert_same_bits(x, want[0])
    for i, (w, state) in enumerate(zip(weights.encoder.layers, want[1:], strict=True)):
        x, _ = layer(x, w, i, Shape(learner.config.n_heads, learner.config.activation), batch, masks)
        assert_same_bits(x, state)


def test_gradients_add_up_over_micro_batches(tmp_path: Path) -> None:
    """Each goes on from what is there; together they are what the whole batch has, to rounding."""
    learner, batch, targets = learner_of(tmp_path)
    cut = int(batch.offsets[2])
    of_rows = targets.rows < cut
    halves = []
    for start, end, here in ((0, cut, of_rows), (cut, batch.tokens, ~of_rows)):
        offsets = batch.offsets[(batch.offsets >= start) & (batch.offsets <= end)] - start
        sentences = PackedBatch(batch.input_ids[start:end], batch.position_ids[start:end], None, None, offsets)
        rows = targets.rows[here] - start
        logits, hidden = targets.teacher_logits[here], targets.teacher_hidden[start:end]
        halves.append((sentences, Targets(rows, targets.labels[here], logits, hidden, ALL)))
    whole = learner.accumulate(batch, targets, 1, 0)
    want = learner.parameters.gradients.copy()
    learner.parameters.gradients[:] = 0
    parts = [learner.accumulate(*half, 1, first) for half, first in zip(halves, (0, cut), strict=True)]
    np.testing.assert_allclose(learner.parameters.gradients, want, atol=1e-5 * np.abs(want).max(), rtol=0)
    for field in ("hard", "soft", "cosine", "labelled", "rows", "tokens"):
        np.testing.assert_allclose(sum(getattr(part, field) for part in parts), getattr(whole, field), rtol=1e-6)
    np.testing.assert_array_equal(np.concatenate([part.predicted for part in parts]), whole.predicted)
    np.testing.assert_array_equal(whole.predicted, learner.predict(batch, targets.rows).argmax(1))


def test_dropout_follows_from_seed_step_and_row(tmp_path: Path) -> None:
    gradients = []
    for seed, step, first_row in ((1, 1, 0), (1, 1, 0), (2, 1, 0), (1, 2, 0), (1, 1, 15)):
        learner, batch, targets = learner_of(tmp_path / str(len(gradients)), chances=Chances(0.2, 0.2, 0.2, seed))
        learner.accumulate(batch, targets, step, first_row)
        gradients.append(learner.parameters.gradients)
    assert_same_bits(gradients[0], gradients[1])
    for other in gradients[2:]:
        assert (other != gradients[0]).mean() > 0.3  # of all: many words are in no sentence


def test_an_update_clips_decays_and_leaves_no_gradient(tmp_path: Path) -> None:
    """Against AdamW's formulas in float64."""
    learner, batch, targets = learner_of(tmp_path)
    p = learner.parameters
    first, second = np.zeros(len(p.values)), np.zeros(len(p.values))
    decays = np.zeros(len(p.values))
    for name in p:
        p.view(decays, name)[...] = p.decays(name)
    for step in (1, 2, 3):
        learner.accumulate(batch, targets, step, 0)
        g, before = p.gradients.astype(np.float64), p.values.astype(np.float64)
        length = np.sqrt((g * g).sum())
        update = Update(step, 1e-2, decay=0.3, beta1=0.8, beta2=0.9, eps=1e-4, largest_norm=None if step == 2 else 0.5)
        np.testing.assert_allclose(learner.update(update), length, rtol=1e-6)
        g *= 1 if step == 2 else 0.5 / (length + 1e-6)
        first, second = 0.8 * first + 0.2 * g, 0.9 * second + 0.1 * g * g
        root = np.sqrt(second / (1 - 0.9**step))
        want = before * (1 - 1e-2 * 0.3 * decays) - 1e-2 * first / (1 - 0.8**step) / (root + 1e-4)
        np.testing.assert_allclose(p.values, want, rtol=2e-6, atol=1e-7)
        np.testing.assert_allclose(p.first, first, rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(p.second, second, rtol=1e-5, atol=1e-12)
        assert not p.gradients.any()
    between = np.ones(len(p.values), bool)
    for name in p:
        p.view(between, name)[...] = False
    assert between.any()
    for block in (p.values, p.first, p.second):
        assert not block[between].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_gradients_that_are_no_numbers_change_nothing(bad: float, tmp_path: Path) -> None:
    learner, batch, targets = learner_of(tmp_path)
    learner.accumulate(batch, targets, 1, 0)
    learner.update(Update(1, 1e-3))
    blocks = [
        block.copy() for block in (learner.parameters.values, learner.parameters.first, learner.parameters.second)
    ]
    learner.parameters.gradient("layers.1.lin1.bias")[3] = bad
    assert not math.isfinite(learner.update(Update(2, 1e-3)))
    for block, want in zip(
        (learner.parameters.values, learner.parameters.first, learner.parameters.second), blocks, strict=True
    ):
        assert_same_bits(block, want)
    assert not learner.parameters.gradients.any()


@pytest.mark.parametrize("task", TASKS)
def test_a_few_sentences_are_learned_by_heart(task: Task, tmp_path: Path) -> None:
    learner, batch, targets = learner_of(tmp_path, "Bert", task)
    generator = np.random.default_rng(5)
    labels = generator.integers(0, learner.parameters.outputs, len(targets.rows)).astype(np.int32)
    targets = Targets(targets.rows, labels, None, None, LossWeights(hard=1 / len(labels)))
    losses = []
    for step in range(1, 61):
        losses.append(learner.accumulate(batch, targets, step, 0))
        learner.update(Update(step, 2e-2, decay=0.0))
    assert losses[0].hard / len(labels) > 0.5
    assert losses[-1].hard / len(labels) < 0.01
    np.testing.assert_array_equal(losses[-1].predicted, labels)
    np.testing.assert_array_equal(learner.predict(batch, targets.rows).argmax(1), labels)


def test_a_teacher_is_followed(tmp_path: Path) -> None:
    """Without any label: the student comes to say what the teacher says, and to point where it points."""
    learner, batch, targets = learner_of(tmp_path, "Bert", "sequence_classification")
    weights = LossWeights(soft=1 / 3, temperature=2.0, cosine=1 / batch.tokens)
    targets = replace(targets, labels=np.full(3, -1, np.int32), weights=weights)
    losses = []
    for step in range(1, 61):
        losses.append(learner.accumulate(batch, targets, step, 0))
        learner.update(Update(step, 2e-2, decay=0.0))
    assert losses[0].labelled == losses[0].hard == 0
    assert losses[-1].soft < 0.02 * losses[0].soft
    assert losses[-1].cosine < 0.3 * losses[0].cosine


WRONG = {
    "rows must be greater": lambda t: replace(t, rows=t.rows[[1, 0, *range(2, len(t.rows))]]),
    "out of range": lambda t: replace(t, rows=t.rows + 15),
    r"labels must be integers \[5\]": lambda t: replace(t, labels=t.labels[1:]),
    "labels must be integers": lambda t: replace(t, labels=t.labels.astype(float)),
    "labels must be from 0 to 28, or -1 for none; got -1 to 29": lambda t: replace(t, labels=np.r_[29, t.labels[1:]]),
    "got -2 to": lambda t: replace(t, labels=np.r_[-2, t.labels[1:]]),
    r"teacher_logits must be \[5, 29\], got \[5, 28\]": lambda t: replace(t, teacher_logits=t.teacher_logits[:, 1:]),
    r"teacher_hidden must be \[15, 12\]": lambda t: replace(t, teacher_hidden=t.teacher_hidden[1:]),
    "asks for teacher_logits": lambda t: replace(t, teacher_logits=None),
    "asks for teacher_hidden": lambda t: replace(t, teacher_hidden=None),
    "weights of losses must be 0 or more": lambda t: replace(t, weights=ALL._replace(hard=np.nan)),
    "temperature above 0": lambda t: replace(t, weights=ALL._replace(temperature=0.0)),
}


@pytest.mark.parametrize(("message", "make"), WRONG.items(), ids=WRONG)
def test_targets_that_do_not_fit_are_refused(message: str, make, tmp_path: Path) -> None:
    learner, batch, targets = learner_of(tmp_path)
    with pytest.raises(ValueError, match=message):
        learner.accumulate(batch, make(targets), 1, 0)
    assert not learner.parameters.gradients.any()


def test_batches_steps_and_chances_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    learner, batch, targets = learner_of(tmp_path)
    embedded = replace(batch, input_ids=None, inputs_embeds=np.zeros((15, 12), np.float32))
    with pytest.raises(ValueError, match="learns from input_ids"):
        learner.accumulate(embedded, targets, 1, 0)
    with pytest.raises(ValueError, match="out of range: the vocabulary has 29 entries"):
        learner.accumulate(replace(batch, input_ids=batch.input_ids + 20), targets, 1, 0)
    for step, first_row in ((0, 0), (2**32, 0), (1, -1), (1, 2**32 - 3)):
        with pytest.raises(ValueError, match="a step must be from 1"):
            learner.accumulate(batch, targets, step, first_row)
    for chances in (Chances(hidden=1.0), Chances(attention=-0.1), Chances(head=math.nan), Chances(seed=-1)):
        with pytest.raises(ValueError, match=r"must be from 0 to"):
            ReferenceLearner(learner.config, learner.parameters.weights(), "masked_lm", chances)


def test_a_learner_is_made_by_a_name(tmp_path: Path) -> None:
    config, weights = small.model(tmp_path, small.config("Bert", "masked_lm"))
    made = create_learner("exact", config, weights, "masked_lm", Chances())
    assert isinstance(made, ReferenceLearner)
    needs = made.needs(tokens=15, sentences=3, longest=9, rows=5)
    assert needs["weights"] == made.parameters.values.nbytes
    assert needs["optimizer"] == 3 * needs["weights"]
    assert needs["activations"] < made.needs(tokens=150, sentences=3, longest=90, rows=50)["activations"]
    with pytest.raises(ValueError, match=r"one of \['engine', 'exact'\], which have a backward pass, got 'blas'"):
        create_learner("blas", config, weights, "masked_lm", Chances())
    with pytest.raises(ValueError, match="threads must be at least 1"):
        create_learner("exact", config, weights, "masked_lm", Chances(), threads=0)
