"""AdamW and the norm of the gradients: kernels against the oracle, bit for bit, and against PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from minidistil.backends.learning import Update
from minidistil.backends.reference.learning import optimizer
from minidistil.kernels.layout import address
from minidistil.kernels.steps.take import take
from minidistil.kernels.steps.training.adamw import Adamw, clip_factor, numbers_of
from minidistil.kernels.steps.training.sum_squares import CHUNK, SumSquares, chunks, norm
from tests.bits import assert_same_bits
from tests.kernels.values import awkward, normal, with_non_finite

f32 = np.float32


def adamw(state: list[np.ndarray], update: Update, clip: float, decays: bool) -> list[np.ndarray]:
    """Values, gradients, and moments after a step of the kernel; nothing beyond them is written."""
    n = len(state[0])
    places = [np.append(array, np.full(20, 7, f32)).astype(f32) for array in state]
    decay = update.decay if decays else 0.0
    numbers = numbers_of(update.step, update.learning_rate, decay, update.beta1, update.beta2, update.eps, clip)
    take(Adamw(*map(address, places), n, address(numbers)), entry="train")
    assert all((place[n:] == 7).all() for place in places)
    return [place[:n] for place in places]


def check(state: list[np.ndarray], update: Update, clip: float, decays: bool) -> list[np.ndarray]:
    want = [array.copy() for array in state]
    optimizer.adamw(*want, update, clip, decays)
    got = adamw(state, update, clip, decays)
    for name, one, other in zip(("values", "gradients", "first", "second"), got, want, strict=True):
        assert_same_bits(one, other, name)
    return got


def a_state(seed: int, n: int) -> list[np.ndarray]:
    values, gradients, first, second = (normal(seed + i, n, scale=10.0**-i) for i in range(4))
    return [values, gradients, first, second * second]


@pytest.mark.parametrize("n", [*range(1, 35), 4095, 4096, 4097, 4112, 10_000])
def test_steps_of_every_length(n: int) -> None:
    state = a_state(1, n)
    for step in (1, 2, 1000):
        after = check(state, Update(step, 1e-3), 0.37, decays=True)
        assert not after[1].any()
        assert (after[0] != state[0]).all()
        state = [after[0], normal(step, n), *after[2:]]


@pytest.mark.parametrize("seed", range(10))
def test_awkward_and_non_finite_numbers(seed: int) -> None:
    values, gradients, first = (awkward(seed + 10 * i, 1000) for i in range(3))
    second = np.abs(awkward(seed + 40, 1000))
    for update in (Update(1, 5e-5), Update(7, 0.1, decay=0.0, beta2=0.98, eps=1e-8), Update(10**6, 0.0)):
        after = check([values, gradients, first, second], update, 1.0, decays=seed % 2 == 0)
        assert all(np.isfinite(array).all() for array in after)
        check([with_non_finite(x, seed) for x in (values, gradients, first, second)], update, 0.5, decays=True)


def test_padding_between_arrays_stays_zero() -> None:
    assert not any(array.any() for array in check([np.zeros(50, f32)] * 4, Update(3, 1e-3), 1.0, decays=True))


def test_what_does_not_decay() -> None:
    state = [np.ones(20, f32), np.zeros(20, f32), np.zeros(20, f32), np.zeros(20, f32)]
    assert (check(state, Update(1, 0.1, decay=0.5), 1.0, decays=False)[0] == 1).all()
    assert (check(state, Update(1, 0.1, decay=0.5), 1.0, decays=True)[0] == f32(0.95)).all()


def sum_squares(x: np.ndarray) -> np.ndarray:
    out = np.full(chunks(len(x)) + 1, 7, f32)
    take(SumSquares(address(x), len(x), address(out)), entry="train")
    assert out[-1] == 7
    return out[:-1]


@pytest.mark.parametrize("n", [*range(1, 35), CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 17])
def test_sums_of_squares_of_every_length(n: int) -> None:
    for x in (normal(1, n), awkward(2, n), with_non_finite(normal(3, n), 3)):
        assert_same_bits(sum_squares(x), optimizer.sum_squares(x))
    x = normal(1, n)
    assert norm(sum_squares(x)) == optimizer.norm(optimizer.sum_squares(x))
    assert norm(sum_squares(x)) == pytest.approx(math.sqrt((x.astype(np.float64) ** 2).sum()), rel=1e-6)


def test_norms_that_are_none() -> None:
    """What the learner then does not take a step with: a NaN, an infinity, squares beyond float32."""
    for value in (np.nan, np.inf, 1e20):
        x = normal(1, 100)
        x[55] = value
        assert not math.isfinite(norm(sum_squares(x)))


def test_clipping() -> None:
    for factor in (clip_factor, optimizer.clip_factor):
        assert factor(5.0, None) == 1.0
        assert factor(0.5, 1.0) == 1.0
        assert factor(4.0, 1.0) == 1 / (4 + 1e-6)
        assert factor(0.0, 1.0) == 1.0


@pytest.mark.parity
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_steps_of_pytorch(torch_reference: Any, decay: float) -> None:
    """Thirty steps, clipped by the norm; what is left after them differs by float32's rounding."""
    values, gradients = normal(1, 3000), normal(2, 30, 3000, scale=0.1)
    settings = {"lr": 1e-2, "weight_decay": decay, "betas": (0.9, 0.98), "eps": 1e-6}
    want, norms = torch_reference.adamw(values, gradients, 2.0, settings)
    state, sizes = [values, gradients[0], np.zeros(3000, f32), np.zeros(3000, f32)], []
    for step, gradient in enumerate(gradients, 1):
        state[1] = gradient
        sizes.append(norm(sum_squares(gradient)))
        update = Update(step, 1e-2, decay, 0.9, 0.98, 1e-6)
        state = adamw(state, update, clip_factor(sizes[-1], 2.0), decays=True)
    assert sizes == pytest.approx(norms, rel=1e-6)
    assert min(sizes) > 2.0, "every step is clipped"
    assert np.abs(state[0] - want).max() < 1e-6
    assert np.abs(want - values).max() > 0.1
