"""Cross entropy, a teacher's distribution, cosines: against the oracle, bit for bit, float64 and PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from minidistil.backends.learning import LossWeights
from minidistil.backends.reference.learning import losses
from minidistil.kernels.layout import address
from minidistil.kernels.steps.table import Matrix
from minidistil.kernels.steps.take import take
from minidistil.kernels.steps.training.cosine import Cosine
from minidistil.kernels.steps.training.cross_entropy import STATISTICS, CrossEntropy, losses_of
from tests.bits import assert_same_bits, canonical
from tests.kernels.values import awkward, normal, with_non_finite

f32 = np.float32
WEIGHTS = LossWeights(hard=0.3, soft=0.7, temperature=2.0)
ONLY_SOFT = LossWeights(soft=1.0, temperature=2.0)


def cross_entropy(
    logits: np.ndarray, teacher: np.ndarray | None, labels: np.ndarray, weights: LossWeights
) -> tuple[np.ndarray, np.ndarray]:
    """What the kernel makes of rows that lie apart: gradient, statistics. Nothing is written between the rows."""
    rows, n = logits.shape
    z, t = np.full((rows, n + 3), 7, f32), np.full((rows, n + 5), 7, f32)
    z[:, :n] = logits
    if teacher is not None:
        t[:, :n] = teacher
    labels = labels.astype(np.int32)
    numbers = np.array([weights.hard, weights.soft, weights.temperature], f32)
    statistics = np.full((rows + 1, STATISTICS), 7, f32)
    teacher_matrix = Matrix(0 if teacher is None else address(t), n + 5)
    operands = (teacher_matrix, address(labels), rows, n, address(numbers), address(statistics))
    take(CrossEntropy(Matrix(address(z), n + 3), *operands), entry="train")
    assert (z[:, n:] == 7).all()
    assert (statistics[rows:] == 7).all()
    return z[:, :n], statistics[:rows]


def check(logits: np.ndarray, teacher: np.ndarray | None, labels: np.ndarray, weights: LossWeights) -> None:
    """Kernel and oracle have the same bits, in the gradient, the statistics and the losses."""
    got, found = cross_entropy(logits, teacher, labels, weights)
    want, expected = losses.cross_entropy(logits, teacher, labels, weights)
    assert_same_bits(got, want, "gradient")
    assert_same_bits(canonical(found), canonical(expected), "statistics")
    hard, soft, greatest = losses_of(found, labels)
    assert repr((hard, soft)) == repr(losses.losses_of(expected, labels)[:2])
    np.testing.assert_array_equal(greatest, losses.losses_of(expected, labels)[2])


@pytest.mark.parametrize("n", [*range(1, 35), 48, 1000, 30_522])
@pytest.mark.parametrize("taught", [False, True])
def test_rows_of_every_length(n: int, taught: bool) -> None:
    logits, teacher = normal(1, 4, n, scale=5), normal(2, 4, n, scale=5) if taught else None
    check(logits, teacher, np.array([0, n - 1, -1, n // 2]), WEIGHTS)


@pytest.mark.parametrize("seed", range(20))
def test_awkward_and_non_finite_logits(seed: int) -> None:
    logits, teacher = awkward(seed, 8, 45), awkward(seed + 100, 8, 45)
    labels = np.random.default_rng(seed).integers(-1, 45, 8)
    for weights in (WEIGHTS, LossWeights(hard=1.0, soft=0.1, temperature=1.0), ONLY_SOFT):
        check(logits, teacher, labels, weights)
        check(with_non_finite(logits, seed), with_non_finite(teacher, seed + 1), labels, weights)
        check(with_non_finite(logits, seed), None, labels, weights)
    assert np.isfinite(cross_entropy(logits, teacher, labels, WEIGHTS)[0]).all()


def test_ties_and_rows_without_a_greatest_logit() -> None:
    """The first of the greatest counts, whatever lane it is in; zeros of either sign are equal."""
    logits = np.zeros((6, 40), f32)
    logits[0, [35, 20, 4]] = 3
    logits[1] = -0.0
    logits[1, 17] = 0.0
    logits[2] = -np.inf
    logits[3] = np.nan
    logits[4, :30] = np.nan
    logits[4, 30:] = -np.inf
    logits[5, [3, 33]] = [np.nan, 2]
    labels = np.array([4, 1, 0, 2, -1, 33])
    check(logits, None, labels, WEIGHTS)
    assert losses_of(cross_entropy(logits, None, labels, WEIGHTS)[1], labels)[2].tolist() == [4, 0, 0, 0, 0, 33]


def test_a_nan_makes_its_own_row_nan_and_no_other() -> None:
    logits, teacher = normal(1, 5, 100), normal(2, 5, 100)
    logits[1, 77], teacher[3, 0] = np.nan, np.nan
    labels = np.array([1, 2, -1, 3, 4])
    gradient, statistics = cross_entropy(logits, teacher, labels, WEIGHTS)
    assert np.isnan(gradient).all(axis=1).tolist() == [False, True, False, True, False]
    assert np.isnan(gradient).any(axis=1).tolist() == [False, True, False, True, False]
    hard, soft, _ = losses_of(statistics, labels)
    assert math.isnan(hard)
    assert math.isnan(soft)


def test_a_student_that_is_its_teacher_has_nothing_to_learn() -> None:
    logits = normal(3, 6, 999, scale=20)
    gradient, statistics = cross_entropy(logits, logits, np.full(6, -1), ONLY_SOFT)
    assert not gradient.any()
    assert losses_of(statistics, np.full(6, -1))[:2] == (0.0, 0.0)


def test_a_row_without_a_label_has_the_soft_gradient_only() -> None:
    logits, teacher = normal(1, 3, 50), normal(2, 3, 50)
    some = np.array([4, -1, 6])
    gradient, statistics = cross_entropy(logits, teacher, some, WEIGHTS)
    soft_only, _ = cross_entropy(logits, teacher, some, WEIGHTS._replace(hard=0.0))
    assert (gradient[1] == soft_only[1]).all()
    assert (gradient[[0, 2]] != soft_only[[0, 2]]).any(axis=1).all()
    two = np.delete(statistics, 1, axis=0)
    assert losses_of(statistics, some)[0] == losses_of(two, np.delete(some, 1))[0]


@pytest.mark.parametrize("scale", [0.1, 1.0, 50.0, 1e4, 1e30])
def test_losses_and_gradients_are_those_of_float64(scale: float) -> None:
    """Also where softmax is all in one place, and where a KL is as large as the logits."""
    n, temperature = 700, 2.0
    logits, teacher = (normal(seed, 5, n) * f32(scale) for seed in (1, 2))
    labels = np.array([0, 5, 699, -1, 8])
    gradient, statistics = cross_entropy(logits, teacher, labels, LossWeights(1.0, 0.5, temperature))
    z, t = logits.astype(np.float64), teacher.astype(np.float64)
    log_p, log_q, log_t = _log_softmax(z), _log_softmax(z / temperature), _log_softmax(t / temperature)
    some = labels >= 0
    onehot = np.eye(n)[labels] * some[:, None]
    hard = -(log_p * onehot).sum()
    soft = (np.exp(log_t) * (log_t - log_q)).sum()
    want = (np.exp(log_p) * some[:, None] - onehot) + 0.5 * temperature * (np.exp(log_q) - np.exp(log_t))
    got_hard, got_soft, greatest = losses_of(statistics, labels)
    assert got_hard == pytest.approx(hard, rel=1e-6)
    assert got_soft == pytest.approx(soft, rel=1e-5, abs=1e-6)
    assert got_soft > 0
    assert np.abs(gradient - want).max() < 1e-6
    assert np.abs(want).max() > 1e-3
    np.testing.assert_array_equal(greatest, logits.argmax(axis=1))


def test_a_teacher_that_gives_weight_where_the_student_gives_none() -> None:
    """KL is infinite there; where neither gives any, nothing is lost."""
    logits, teacher = np.zeros((2, 20), f32), np.zeros((2, 20), f32)
    logits[0, 3], logits[1, 3], teacher[1, 3] = -np.inf, -np.inf, -np.inf
    _, statistics = cross_entropy(logits, teacher, np.full(2, -1), ONLY_SOFT)
    assert losses_of(statistics[:1], np.full(1, -1))[1] == math.inf
    assert losses_of(statistics[1:], np.full(1, -1))[1] == 0.0


def cosine(x: np.ndarray, teacher: np.ndarray, weight: float, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the kernel adds to `start`, and the cosines."""
    rows, n = x.shape
    places = [np.full((rows, n + gap), 7, f32) for gap in (1, 2, 3)]
    for place, values in zip(places, (x, teacher, start), strict=True):
        place[:, :n] = values
    number, cosines = np.array([weight], f32), np.full(rows + 1, 7, f32)
    matrices = [Matrix(address(place), place.shape[1]) for place in places]
    take(Cosine(*matrices, rows, n, address(number), address(cosines)), entry="train")
    assert (places[2][:, n:] == 7).all()
    assert cosines[rows] == 7
    return places[2][:, :n], cosines[:rows]


def check_cosine(x: np.ndarray, teacher: np.ndarray, start: np.ndarray) -> None:
    got, cosines = cosine(x, teacher, 0.25, start)
    factors, want = losses.cosine(x, teacher, 0.25)
    assert_same_bits(cosines, want, "cosines")
    assert_same_bits(got, losses.add_cosine(start, x, teacher, factors), "gradient")


@pytest.mark.parametrize("n", [*range(1, 35), 312, 384, 768])
def test_cosines_of_every_width(n: int) -> None:
    check_cosine(normal(1, 5, n), normal(2, 5, n), normal(3, 5, n))


@pytest.mark.parametrize("seed", range(20))
def test_awkward_and_non_finite_hidden_states(seed: int) -> None:
    x, teacher, start = awkward(seed, 9, 37), awkward(seed + 50, 9, 37), awkward(seed + 80, 9, 37)
    check_cosine(x, teacher, start)
    check_cosine(with_non_finite(x, seed), with_non_finite(teacher, seed + 1), start)


def test_rows_without_a_direction() -> None:
    """Nothing is to be learned from a row of zeros, or about one; but a NaN stays one."""
    x, teacher, start = normal(1, 4, 33), normal(2, 4, 33), normal(3, 4, 33)
    x[0], teacher[1] = 0, f32(1e-12)
    x[2, 5] = np.nan
    got, cosines = cosine(x, teacher, 1.0, start)
    assert (got[:2] == start[:2]).all()
    assert (cosines[:2] == 0).all()
    assert np.isnan(got[2]).all()
    assert np.isnan(cosines[2])
    assert (got[3] != start[3]).any()
    check_cosine(x, teacher, start)


def test_the_gradient_of_a_cosine_is_that_of_float64() -> None:
    x, teacher = normal(1, 6, 384, scale=3), normal(2, 6, 384)
    got, cosines = cosine(x, teacher, 0.5, np.zeros_like(x))
    a, b = x.astype(np.float64), teacher.astype(np.float64)
    length, other = (np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    cos = (a * b).sum(axis=1, keepdims=True) / (length * other)
    want = -0.5 * (b / (length * other) - a * cos / length**2)
    assert np.abs(cosines - cos[:, 0]).max() < 1e-6
    assert np.abs(got - want).max() < 1e-6 * np.abs(want).max()


@pytest.mark.parity
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_losses_and_gradients_of_pytorch(torch_reference: Any, temperature: float) -> None:
    """Within float32's rounding; the rules of sums differ."""
    logits, teacher = normal(1, 6, 2000, scale=4), normal(2, 6, 2000, scale=4)
    labels = np.array([0, 1, -1, 1999, 5, -1])
    weights = LossWeights(hard=0.4, soft=0.6, temperature=temperature)
    hard, soft, want = torch_reference.cross_entropy(logits, teacher, labels, *weights[:3])
    gradient, statistics = cross_entropy(logits, teacher, labels, weights)
    got = losses_of(statistics, labels)
    assert got[:2] == pytest.approx((hard, soft), rel=2e-6)
    assert np.abs(gradient - want).max() < 1e-6
    assert np.abs(want).max() > 0.1
    x, other = normal(3, 7, 384), normal(4, 7, 384)
    cosines, want = torch_reference.cosine(x, other)
    got_gradient, got_cosines = cosine(x, other, 1.0, np.zeros_like(x))
    assert np.abs(got_cosines - cosines).max() < 3e-7
    assert np.abs(got_gradient - want).max() < 1e-6 * np.abs(want).max()


def _log_softmax(z: np.ndarray) -> np.ndarray:
    d = z - z.max(axis=1, keepdims=True)
    return d - np.log(np.exp(d).sum(axis=1, keepdims=True))
