"""The gradients of every parameter of whole models, against finite differences in float64."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from minidistil.backends.learning import TASKS, Chances, LossWeights, Task
from minidistil.backends.reference.learning.model import ReferenceLearner
from tests.learning import small
from tests.learning.wide import Wide

STEP = 1e-5  # of the differences, which are of fourth order; small, as a ReLU has a kink on which none may stand
TOLERANCE = 1e-5
"""Of the largest of a parameter's gradient: sums of a few hundred float32 products, each good to 6e-8."""

NONE, HARD = Chances(), LossWeights(hard=0.3)
ALL = LossWeights(hard=0.3, soft=0.2, temperature=2.0, cosine=0.1)


@dataclass(frozen=True)
class Case:
    family: str
    task: Task
    weights: LossWeights = ALL
    chances: Chances = NONE
    changes: tuple[tuple[str, object], ...] = ()
    lengths: tuple[int, ...] = (5, 1, 9)
    labels: int = 3
    one_product: bool = False
    without_types: bool = False


CASES = {
    **{f"{family} {task}": Case(family, task) for family in ("DistilBert", "Bert", "Roberta") for task in TASKS},
    **{
        f"{family} {task} with dropout": Case(family, task, chances=Chances(0.2, 0.3, 0.4, 7 << 33 | 5))
        for family in ("DistilBert", "Bert", "Roberta")
        for task in TASKS
    },
    **{f"{family} masked_lm": Case(family, "masked_lm") for family in ("XLMRoberta", "Camembert")},
    **{
        f"bert with {name}": Case("Bert", "masked_lm", changes=(("hidden_act", name),))
        for name in ("relu", "gelu_new", "silu", "tanh", "linear")
    },
    "bert untied": Case("Bert", "masked_lm", changes=(("tie_word_embeddings", False),)),
    "labels alone": Case("DistilBert", "masked_lm", HARD),
    "a teacher alone": Case("DistilBert", "masked_lm", LossWeights(soft=0.3, temperature=3.0)),
    "hidden states alone": Case("DistilBert", "sequence_classification", LossWeights(cosine=0.3)),
    "a head of one product": Case("DistilBert", "sequence_classification", one_product=True),
    "many labels": Case("Bert", "token_classification", labels=14),  # 12 and more are summed in another order
    **{
        f"{family} {task}, labels alone, with dropout": Case(family, task, HARD, Chances(0.2, 0.3, 0.4, 11))
        for family, task in (("DistilBert", "masked_lm"), ("Roberta", "sequence_classification"))
    },  # the last layer at the rows that are read
    "more tokens than a block has": Case(  # 195, of 192
        "DistilBert",
        "token_classification",
        changes=(("max_position_embeddings", 100), ("activation", "tanh")),
        lengths=(98, 97),
    ),
    "bert without types": Case("Bert", "sequence_classification", without_types=True),
}


def of(case: Case, folder: Path) -> tuple[ReferenceLearner, Wide]:
    """A learner that has seen one batch, and the loss of it in float64."""
    values = small.config(case.family, case.task, case.labels, **dict(case.changes))
    config, weights = small.model(folder, values)
    if case.one_product:
        head = replace(weights.sequence_classification, dense=None, activation="linear")
        weights = replace(weights, sequence_classification=head)
    learner = ReferenceLearner(config, weights, case.task, case.chances)
    batch = small.batch(values, case.lengths)
    if case.without_types:
        batch = replace(batch, token_type_ids=None)
    targets = small.targets(batch, case.task, learner.parameters.outputs, config.dim, case.weights)
    losses = learner.accumulate(batch, targets, 3, 50)
    wide = Wide(values, case.task, config.layer_norm_eps, batch, targets, case.chances, 3, 50)
    said = wide.losses(values_of(learner))
    hard, soft, temperature, cosine = case.weights
    np.testing.assert_allclose(
        (losses.hard * hard, losses.soft * soft * temperature**2, losses.cosine * cosine), said, rtol=1e-5, atol=1e-12
    )
    return learner, wide


def values_of(learner: ReferenceLearner) -> dict[str, np.ndarray]:
    return {name: learner.parameters.value(name).astype(np.float64) for name in learner.parameters}


def slope(wide: Wide, p: dict[str, np.ndarray], name: str, direction: np.ndarray) -> float:
    """The derivative of the loss along a direction, by central differences of fourth order."""

    def at(step: float) -> float:
        return wide.loss({**p, name: p[name] + step * direction})

    return (8 * (at(STEP) - at(-STEP)) - (at(2 * STEP) - at(-2 * STEP))) / (12 * STEP)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_gradients_are_those_of_finite_differences(case: Case, tmp_path: Path) -> None:
    """Of every parameter: some elements one by one, and all of them along two random directions."""
    learner, wide = of(case, tmp_path)
    p, generator = values_of(learner), np.random.default_rng(1)
    largest = {name: np.abs(learner.parameters.gradient(name)).max() for name in p}
    for name, value in p.items():
        gradient = learner.parameters.gradient(name).astype(np.float64)
        assert np.isfinite(gradient).all(), name
        # What adds the same to all scores of a row changes nothing: a key's bias has no gradient but what is rounded.
        nothing = name.endswith("k_lin.bias")
        scale = largest[name.replace("bias", "weight")] if nothing else largest[name]
        one_by_one = generator.permutation(value.size)[:5]
        for element in [int(np.abs(gradient).argmax()), *one_by_one.tolist()]:
            direction = np.zeros(value.size)
            direction[element] = 1
            want = slope(wide, p, name, direction.reshape(value.shape))
            assert abs(gradient.flat[element] - want) <= TOLERANCE * scale, (name, element, want)
        for _ in range(2):
            direction = generator.choice([-1.0, 1.0], value.shape)
            want = slope(wide, p, name, direction)
            assert abs((gradient * direction).sum() - want) <= TOLERANCE * scale * np.sqrt(value.size), (name, want)
        assert nothing or case.weights.hard + case.weights.soft == 0 or scale > 1e-4, f"{name} has no gradient"
