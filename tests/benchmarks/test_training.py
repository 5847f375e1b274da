"""What can be wrong in the comparison of training without anyone noticing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.measure import Disagreement
from benchmarks.training.__main__ import check
from benchmarks.training.learners import cross_entropy
from benchmarks.training.where import KINDS, Clocked
from benchmarks.training.work import Example, Work
from minidistil.backends.engine.learning import EngineLearner
from minidistil.backends.learning import Chances, LossWeights, Update
from minidistil.kernels.steps.table import ENTRIES
from tests.learning import small

GOOD = np.array([10.3, 9.1])


def test_engines_that_learn_the_same_pass() -> None:
    check({"a": GOOD, "b": np.array([10.3002, 9.3])})


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        ((0.0, 0.0), "losses that are none"),
        ((np.nan, 9.1), "losses that are none"),
        ((10.3, np.nan), "losses that are none"),
        ((10.31, 9.1), "before any step"),
        ((10.3, 10.3), "fell to 10.3000"),  # nothing was learned
        ((10.3, 10.9), "fell to 10.9000"),  # a sign is wrong
    ],
)
def test_an_engine_that_learns_something_else_does_not(losses: tuple[float, float], reason: str) -> None:
    with pytest.raises(Disagreement, match=reason):
        check({"a": GOOD, "b": np.array(losses)})


def test_nobody_may_learn_nothing() -> None:
    with pytest.raises(Disagreement, match="learned nothing"):
        check({"a": np.array([10.3, 10.3]), "b": np.array([10.3, 10.3])})


def test_of_a_few_labels_the_loss_before_is_judged_alone() -> None:
    check({"a": GOOD, "b": np.array([10.3, 10.9])}, learned=False)
    with pytest.raises(Disagreement, match="before any step"):
        check({"a": GOOD, "b": np.array([10.31, 9.1])}, learned=False)


def test_cross_entropy() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], np.float32)) + 300
    assert cross_entropy(logits, np.array([1, 2])) == pytest.approx(-np.log(0.25 * 0.8), rel=1e-4)


def test_a_pool_is_learned_once_in_any_order() -> None:
    rows = np.zeros(1, np.int64)
    work = Work("", "masked_lm", tuple(Example(np.full(n, 7, np.int32), rows, rows) for n in (3, 9, 5, 4, 8)), 2)
    assert work.tokens == 29
    for order, lengths in ((None, [[3, 9], [5, 4], [8]]), (np.argsort(work.lengths), [[3, 4], [5, 8], [9]])):
        assert [[len(example.ids) for example in step] for step in work.steps(order)] == lengths


def test_every_operation_of_training_has_a_kind() -> None:
    """But `attend` and what reads int8, which are inference's, and what measures roofs."""
    known = [operation for operations in KINDS.values() for operation in operations]
    others = {"attend", "code_rows", "coded_product", "decode_rows", "multiply_adds", "read_memory"}
    there = {name.rpartition(".")[2] for name in ENTRIES["train"]} - others
    assert sorted(known) == sorted(there)


def test_a_clocked_learner_has_the_same_bits_and_counts_all_products(tmp_path: Path) -> None:
    values = small.config("DistilBert", "masked_lm")
    config, weights = small.model(tmp_path, values)
    batch = small.batch(values, (5, 1, 9))
    chances = Chances(0.1, 0.1, 0.1, 5)
    learners = [kind(config, weights, "masked_lm", chances, 2) for kind in (EngineLearner, Clocked)]
    for learner in learners:
        targets = small.targets(batch, "masked_lm", learner.parameters.outputs, config.dim, LossWeights(hard=0.2))
        learner.accumulate(batch, targets, 1, 0)
        learner.update(Update(1, 0.01))
    plain, clocked = learners
    assert np.array_equal(plain.parameters.values, clocked.parameters.values)
    assert not np.array_equal(plain.parameters.first, np.zeros_like(plain.parameters.first))
    assert all(seconds >= 0 for seconds in clocked.seconds.values())
    assert clocked.seconds.keys() == KINDS.keys()
    # dX and dW of a product are as much work as the product; panels' unused columns count in the first two.
    D, F, T, R, V = config.dim, config.hidden_dim, batch.tokens, len(targets.rows), config.vocab_size
    layers = 2 * (3 * T * D * D) * 2 + (T + R) * (D * D + 2 * D * F) * 2
    assert clocked.operations["products, dW"] == layers + 2 * R * (D * D + D * V)
    assert clocked.operations["products, forward"] >= clocked.operations["products, dW"]
    assert clocked.operations["products, dX"] >= clocked.operations["products, dW"]
