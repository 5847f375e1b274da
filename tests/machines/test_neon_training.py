"""The operations of training on 64-bit ARM, under emulation: the bits of their oracles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from minidistil.backends.learning import LossWeights, Update
from minidistil.kernels.code.emit import ALLOWED
from minidistil.kernels.steps import table
from tests.kernels.values import awkward, normal, with_non_finite
from tests.learning import (
    test_activations,
    test_attention,
    test_dropout,
    test_embeddings,
    test_losses,
    test_norms,
    test_optimizer,
    test_products,
)
from tests.machines import cross, emulator
from tests.machines.test_neon import folder

__all__ = ["folder"]

pytestmark = pytest.mark.slow


@pytest.fixture
def emulated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> emulator.Emulator:
    """From here on operations run on the emulated machine."""
    machine = emulator.Emulator(folder)
    machine.takes_over(monkeypatch)
    return machine


def attention() -> None:
    for lengths, heads, d, probability in (([1, 17, 40], 2, 16, 0.1), ([200, 3], 1, 12, 0.0), ([33], 2, 65, 0.5)):
        inputs = test_attention.inputs(lengths, heads, d)
        test_attention.check(inputs, lengths, heads, d, test_attention.chance(probability))


def weight_gradients() -> None:
    for tokens, n, k, threads in ((1, 1, 1, 1), (17, 33, 49, 1), (200, 50, 70, 2), (390, 13, 100, 1)):
        test_products.check_weight_gradient(tokens, n, k, threads)


def packed_columns() -> None:
    for n, k in ((1, 1), (47, 49), (193, 20), (400, 97)):
        test_products.test_pack_columns(n, k, 2)
    test_products.test_pack_columns_of_several_weights((1, 200, 5))


def column_sums() -> None:
    for tokens, n in ((1, 1), (200, 81), (9, 48)):
        test_products.check_column_sums(tokens, n, 2, non_finite=tokens == 200)


def norms() -> None:
    for n in (1, 16, 19, 100, 768):
        test_norms.test_forward(n, 2)


def norms_backward() -> None:
    for tokens, n in ((1, 1), (5, 16), (6, 37), (3, 768)):
        test_norms.check_backward(tokens, n, 2)
    test_norms.check_backward(40, 50, non_finite=True)


def norms_gradients() -> None:
    for tokens, n in ((1, 1), (200, 37), (5, 64)):
        test_norms.check_gradient(tokens, n, 2)


def kept_activations() -> None:
    for name in ("gelu", "tanh", "gelu_new", "silu", "relu"):
        test_activations.test_an_activation_whose_input_is_kept(name, 1)


def activations_backward() -> None:
    for name in ("gelu", "tanh", "gelu_new", "silu", "relu", "linear"):
        test_activations.check(name, normal(1, 5, 37), with_non_finite(normal(2, 5, 37, scale=3), 3))
        test_activations.check(name, awkward(3, 2, 48), awkward(4, 2, 48))


def dropped() -> None:
    for rows, n in ((1, 1), (5, 17), (40, 65)):
        test_dropout.test_the_operation_is_the_reference(rows, n, 1)


def scattered() -> None:
    for n in (1, 16, 33):
        test_embeddings.test_rows_of_every_width(n)


def cross_entropies() -> None:
    for n in (1, 16, 45, 1000):
        logits, teacher = normal(1, 4, n, scale=5), normal(2, 4, n, scale=5)
        test_losses.check(logits, teacher, np.array([0, n - 1, -1, n // 2]), LossWeights(0.3, 0.7, 2.0))
    test_losses.test_awkward_and_non_finite_logits(3)
    test_losses.test_ties_and_rows_without_a_greatest_logit()


def cosines() -> None:
    for n in (1, 16, 37):
        test_losses.check_cosine(normal(1, 5, n), normal(2, 5, n), normal(3, 5, n))
    test_losses.test_awkward_and_non_finite_hidden_states(2)
    test_losses.test_rows_without_a_direction()


def squares() -> None:
    for n in (1, 33, 5000):
        test_optimizer.test_sums_of_squares_of_every_length(n)


def steps_of_adamw() -> None:
    for n in (1, 33, 5000):
        test_optimizer.check(test_optimizer.a_state(1, n), Update(3, 1e-3), 0.37, decays=True)
    test_optimizer.test_awkward_and_non_finite_numbers(1)


CHECKS: dict[str, Callable[[], None]] = {
    "PackColumns": packed_columns,
    "WeightGradient": weight_gradients,
    "ColumnSums": column_sums,
    "LayerNorm": norms,
    "LayerNormBackward": norms_backward,
    "NormGradient": norms_gradients,
    "ActivateRows": kept_activations,
    "ActivationBackward": activations_backward,
    "AttendKept": attention,
    "AttendBackward": attention,
    "Dropout": dropped,
    "ScatterRows": scattered,
    "CrossEntropy": cross_entropies,
    "Cosine": cosines,
    "SumSquares": squares,
    "Adamw": steps_of_adamw,
}
"""By the operation that each must have run."""


def test_every_operation_is_checked() -> None:
    assert list(CHECKS) == [table.operation(name)[0].__name__ for name in table.TRAINING]


@pytest.mark.parametrize("operation", CHECKS)
def test_operation(emulated: emulator.Emulator, operation: str) -> None:
    CHECKS[operation]()
    assert operation in {name for run in emulated.runs for name in run}, "nothing was emulated"


def test_the_code_calls_nothing_of_the_mathematical_library(folder: Path) -> None:
    assert cross.calls((folder / "minidistil_train.s").read_text()) <= set(ALLOWED)
