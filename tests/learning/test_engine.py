"""The engine's learner has the bits of the reference's: losses, gradients, parameters, in any team and on any CPU."""

from __future__ import annotations

import functools
import os
import signal
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minidistil.backends.batch import PackedBatch
from minidistil.backends.engine.learning import EngineLearner
from minidistil.backends.engine.threads import Team, _Crew
from minidistil.backends.learning import TASKS, Chances, Losses, LossWeights, Targets, Task, Update
from minidistil.backends.reference.learning.model import ReferenceLearner
from minidistil.kernels.code.target import target
from tests import steps
from tests.bits import assert_same_bits, digest
from tests.forks import child, ended
from tests.learning import small
from tests.processes import HANGS, python

ROOT = Path(__file__).parents[2]
EVERY = [(family, task) for family in ("DistilBert", "Bert", "Roberta") for task in TASKS]
HARD, SOFT, COSINE = LossWeights(hard=0.3), LossWeights(soft=0.2, temperature=2.0), LossWeights(hard=0.1, cosine=0.2)
ALL = LossWeights(hard=0.3, soft=0.2, temperature=2.0, cosine=0.1)
NONE = Chances()
DROPOUT = Chances(0.1, 0.2, 0.15, seed=(7 << 40) + 3)
# Sums of several blocks everywhere; heads of 20; more words than a panel has columns; nothing fills a vector.
WIDE = {"vocab_size": 211, "max_position_embeddings": 70, "n_layers": 2, "n_heads": 10, "dim": 200, "hidden_dim": 212}


class Pair:
    """The same model for both backends, the engine's with one thread and with two."""

    def __init__(self, values: dict, task: Task, chances: Chances = NONE) -> None:
        with tempfile.TemporaryDirectory() as folder:
            config, weights = small.model(Path(folder), values)
        self.values, self.task, self.config = values, task, config
        self.want = ReferenceLearner(config, weights, task, chances)
        self.got = [EngineLearner(config, weights, task, chances, threads=threads) for threads in (1, 2)]

    def targets(self, batch: PackedBatch, weights: LossWeights, seed: int = 0) -> Targets:
        return small.targets(batch, self.task, self.want.parameters.outputs, self.config.dim, weights, seed)

    def accumulate(self, lengths: tuple[int, ...], weights: LossWeights, step: int = 1, first_row: int = 0) -> None:
        """One micro-batch, and the same losses and gradients."""
        batch = small.batch(self.values, lengths, seed=step)
        targets = self.targets(batch, weights, seed=step)
        want = self.want.accumulate(batch, targets, step, first_row)
        for learner in self.got:
            assert_same_losses(learner.accumulate(batch, targets, step, first_row), want)
            self.compare("gradients", learner)

    def update(self, update: Update) -> None:
        """A step, and the same parameters and moments."""
        want = self.want.update(update)
        for learner in self.got:
            assert learner.update(update) == want
            for block in ("values", "first", "second", "gradients"):
                self.compare(block, learner)

    def compare(self, block: str, learner: EngineLearner) -> None:
        """A block, parameter after parameter, and what lies between."""
        p = self.want.parameters
        for name in reversed(list(p)):
            got, want = (x.view(getattr(x, block), name) for x in (learner.parameters, p))
            assert_same_bits(got, want, f"{block} of {name} with {learner.threads} threads")
        assert_same_bits(getattr(learner.parameters, block), getattr(p, block), block)


def assert_same_losses(got: Losses, want: Losses) -> None:
    assert got._replace(predicted=None) == want._replace(predicted=None)
    np.testing.assert_array_equal(got.predicted, want.predicted)


@pytest.mark.parametrize("chances", [NONE, DROPOUT], ids=["without dropout", "with dropout"])
@pytest.mark.parametrize(("family", "task"), EVERY)
def test_every_family_and_head(family: str, task: Task, chances: Chances) -> None:
    """Two steps of two micro-batches each, the second of which goes on from the gradients of the first."""
    pair = Pair(small.config(family, task), task, chances)
    for step in (1, 2):
        pair.accumulate((5, 1, 9), ALL, step)
        pair.accumulate((3, 13), ALL, step, first_row=15)
        pair.update(Update(step, 1e-2, largest_norm=0.5 if step == 1 else None))


@pytest.mark.parametrize("weights", [HARD, SOFT, COSINE, ALL], ids=["hard", "soft", "cosine", "all"])
def test_every_loss(weights: LossWeights) -> None:
    pair = Pair(small.config("Bert", "masked_lm"), "masked_lm")
    pair.accumulate((4, 11, 2), weights)


@pytest.mark.parametrize(("task", "labels"), [("sequence_classification", 1), ("token_classification", 13)])
def test_few_labels_and_many(task: Task, labels: int) -> None:
    pair = Pair(small.config("DistilBert", task, labels), task, DROPOUT)
    pair.accumulate((4, 11, 2), HARD._replace(soft=0.1))


@pytest.mark.parametrize("activation", ["relu", "gelu_new", "silu"])
def test_every_activation(activation: str) -> None:
    pair = Pair(small.config("DistilBert", "masked_lm", activation=activation), "masked_lm")
    pair.accumulate((4, 11, 2), HARD)


@functools.cache
def tiny() -> Pair:
    return Pair(small.config("DistilBert", "token_classification"), "token_classification", DROPOUT)


@pytest.mark.parametrize("tokens", range(1, 50))
def test_every_remainder_of_tokens(tokens: int) -> None:
    pair = tiny()
    pair.accumulate((15,) * (tokens // 15) + ((tokens % 15,) if tokens % 15 else ()), HARD)


@pytest.mark.parametrize("lengths", [(64, 64, 63), (64, 64, 65), (70,) * 6])
def test_sums_of_several_blocks(lengths: tuple[int, ...]) -> None:
    """Over tokens: 191, 193 and 420; over columns: 200 and 212."""
    pair = Pair(small.config("DistilBert", "masked_lm", sizes=WIDE), "masked_lm", DROPOUT)
    pair.accumulate(lengths, ALL)
    pair.update(Update(1, 1e-3))


def test_rows_that_the_head_does_not_read() -> None:
    """None at all: the hidden states may have a teacher still; and nothing, of which nothing is learnt."""
    pair = Pair(small.config("DistilBert", "masked_lm"), "masked_lm")
    batch = small.batch(pair.values, (5, 3))
    no_rows, no_labels = np.zeros(0, np.int64), np.zeros(0, np.int32)
    hidden = np.random.default_rng(0).standard_normal((8, pair.config.dim), np.float32)
    for teacher in (None, hidden):
        weights = LossWeights(hard=1.0, cosine=0.0 if teacher is None else 0.5)
        targets = Targets(no_rows, no_labels, None, teacher, weights)
        want = pair.want.accumulate(batch, targets, 1, 0)
        for learner in pair.got:
            assert_same_losses(learner.accumulate(batch, targets, 1, 0), want)
            pair.compare("gradients", learner)
    assert pair.got[0].parameters.gradients.any()
    assert pair.got[0].predict(batch, no_rows).shape == (0, pair.values["vocab_size"])


@pytest.mark.parametrize(("family", "task"), EVERY)
def test_predictions(family: str, task: Task) -> None:
    """Without dropout, of the parameters as they are: at first, after a step, and after others have written to them."""
    pair = Pair(small.config(family, task), task, DROPOUT)
    batch = small.batch(pair.values, (5, 1, 9))
    rows = pair.targets(batch, HARD).rows

    def same() -> np.ndarray:
        want = pair.want.predict(batch, rows)
        for learner in pair.got:
            assert_same_bits(learner.predict(batch, rows), want)
        return want

    first = same()
    pair.accumulate((5, 1, 9), HARD)
    pair.update(Update(1, 1e-2))
    second = same()
    assert (first != second).any()
    for learner in (pair.want, *pair.got):
        learner.parameters.values *= np.float32(1.5)
        learner.changed()
    assert (same() != second).any()


def thirty_steps(threads: int) -> str:
    """Digest of the parameters and moments after a run of thirty steps."""
    values = small.config("Roberta", "masked_lm", sizes={**WIDE, "max_position_embeddings": 90})
    with tempfile.TemporaryDirectory() as folder:
        config, weights = small.model(Path(folder), values)
    learner = EngineLearner(config, weights, "masked_lm", DROPOUT, threads=threads)
    p = learner.parameters
    for step in range(1, 31):
        first_row = 0
        for lengths in ((step, 40, 2 * step), (61 - step, 7)):
            batch = small.batch(values, lengths, seed=step)
            learner.accumulate(batch, small.targets(batch, "masked_lm", 211, 200, ALL, seed=step), step, first_row)
            first_row += batch.tokens
        learner.update(Update(step, 1e-3))
    assert all(np.isfinite(block).all() and block.any() for block in (p.values, p.first, p.second))
    return digest(p.values, p.first, p.second)


@functools.cache
def alone() -> str:
    return thirty_steps(1)


def test_a_run_has_the_same_bits_in_a_team() -> None:
    assert thirty_steps(2) == thirty_steps(3) == alone()


@pytest.mark.skipif(target().lanes not in (8, 16), reason="another x86-64 CPU can be asked for on x86-64 only")
def test_a_run_has_the_same_bits_on_haswell() -> None:
    program = """
from minidistil.kernels.code.target import target
from tests.learning.test_engine import alone
print(target().lanes, alone())
"""
    environment = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"}
    assert python(program, env=environment, cwd=ROOT).split() == ["8", alone()]


def test_memory_is_known_before_and_used_again() -> None:
    """What is asked for is what is taken, and a smaller micro-batch takes nothing new."""
    pair = Pair(small.config("DistilBert", "masked_lm"), "masked_lm")
    for learner in pair.got:
        batch = small.batch(pair.values, (15, 15, 9))
        targets = pair.targets(batch, ALL)
        needs = learner.needs(batch.tokens, batch.sentences, 15, len(targets.rows))
        learner.accumulate(batch, targets, 1, 0)
        block, values = learner._memory._block, learner.parameters.values
        assert block.nbytes <= needs["activations"] < block.nbytes + 32 * len(targets.rows)
        assert needs["optimizer"] == 3 * needs["weights"] == 3 * values.nbytes
        assert needs["packed"] > 1.5 * values.nbytes  # both ways, in whole panels
        for lengths in ((15, 15, 8), (4,)):
            batch = small.batch(pair.values, lengths)
            learner.accumulate(batch, pair.targets(batch, HARD), 1, 0)
            learner.predict(batch, np.array([0]))
            assert learner._memory._block is block


@pytest.mark.parametrize("threads", [1, 3])
def test_an_interrupted_learner_refuses_to_go_on(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C at the worst moment: the workers have started and wait for the caller, who never comes."""
    pair = Pair(small.config("DistilBert", "masked_lm"), "masked_lm")
    learner = EngineLearner(pair.config, pair.want.parameters.weights(), "masked_lm", NONE, threads=threads)
    batch = small.batch(pair.values, (5, 9))
    targets = pair.targets(batch, HARD)
    run = Team.run

    def interrupted(team: Team, *arguments: object) -> None:
        with pytest.MonkeyPatch.context() as patch:
            start = _Crew.start
            patch.setattr(_Crew, "start", lambda *job: (start(*job), signal.raise_signal(signal.SIGINT)))
            run(team, *arguments)
        raise KeyboardInterrupt  # a team of one starts nobody

    learner.accumulate(batch, targets, 1, 0)
    before = set(threading.enumerate())
    monkeypatch.setattr(Team, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learner.update(Update(1, 1e-3))
    monkeypatch.undo()
    for thread in set(threading.enumerate()) - before:
        thread.join(HANGS)
    for call in (
        lambda: learner.accumulate(batch, targets, 1, 0),
        lambda: learner.update(Update(1, 1e-3)),
        lambda: learner.predict(batch, targets.rows),
    ):
        with pytest.raises(RuntimeError, match="new learner, from the last checkpoint"):
            call()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_child_learns_by_itself(threads: int) -> None:
    pair = Pair(small.config("DistilBert", "masked_lm"), "masked_lm", DROPOUT)
    learner = pair.got[threads - 1]
    pair.accumulate((5, 9), HARD)  # the parent's team is awake
    before = learner.parameters.gradients.copy()

    def same() -> None:
        pair.accumulate((7, 2), HARD, step=2)
        pair.update(Update(1, 1e-3))

    assert ended(child(same)) == [0]
    assert_same_bits(learner.parameters.gradients, before)
    same()


@pytest.mark.parametrize(("family", "task"), EVERY)
def test_steps_that_run_side_by_side_touch_different_memory(family: str, task: Task) -> None:
    pair = Pair(small.config(family, task), task, DROPOUT)
    batch = small.batch(pair.values, (5, 1, 9))
    targets = pair.targets(batch, ALL)
    with steps.watched() as calls:
        pair.got[1].accumulate(batch, targets, 1, 0)
        pair.got[1].update(Update(1, 1e-3))
        pair.got[1].predict(batch, targets.rows)
    packed, learnt, squares, updated, predicted = ([step.meets for step in call.steps] for call in calls)
    assert len(squares) == 1
    assert packed[-1], "the caller leaves there"
    assert sum(packed) == 1
    assert sum(updated) == 2, "the copies are made of the new parameters"
    assert 0.4 < sum(learnt) / len(learnt) < sum(predicted) / len(predicted) == 1


def test_what_does_not_fit_is_refused_before_anything_is_changed() -> None:
    pair = Pair(small.config("DistilBert", "token_classification"), "token_classification")
    learner = pair.got[0]
    batch = small.batch(pair.values, (5, 9))
    targets = pair.targets(batch, HARD)
    for wrong in (
        replace(targets, labels=targets.labels + 3),
        replace(targets, rows=targets.rows + 1),
        replace(targets, rows=targets.rows[::-1]),
        replace(targets, teacher_logits=np.zeros((14, 2), np.float32)),
        replace(targets, teacher_hidden=np.zeros((13, 12), np.float32)),
    ):
        with pytest.raises(ValueError, match=r"rows|labels|teacher"):
            learner.accumulate(batch, wrong, 1, 0)
    with pytest.raises(ValueError, match="rows"):
        learner.predict(batch, np.array([14]))
    assert not learner.parameters.gradients.any()
    pair.accumulate((5, 9), HARD)
