"""Rows as whole numbers: in range, limited where that is asked for, and with the least of an error that there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.kernels import layout
from minidistil.weights.codes import PAIR, _rounding, coded

_PAIRS = np.array([p for p in itertools.product(range(-127, 128), repeat=2) if abs(sum(p)) <= 128])


@st.composite
def rows(draw: st.DrawFn) -> np.ndarray:
    """float32 [n, K] of normal numbers, some of them far out, at any scale."""
    seed, n, k = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 4)), draw(st.integers(1, 70))
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, k)) * 10.0 ** draw(st.integers(-30, 30))
    x[rng.random((n, k)) < draw(st.sampled_from([0.0, 0.02, 0.3]))] *= draw(st.sampled_from([0.0, 4.0, 50.0]))
    return x.astype(np.float32)


def squared_error(w: np.ndarray, codes: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """float64 [n]."""
    return np.square(w.astype(np.float64) - codes * steps.astype(np.float64)[:, None]).sum(axis=1)


def limited_at(w: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Squared error, float64 [n], of the best codes that are limited, of rows float32 [n, K] in given steps."""
    counted = w.astype(np.float64) / steps.astype(np.float64)[:, None]
    pairs = np.pad(counted, ((0, 0), (0, counted.shape[1] % 2))).reshape(len(w), -1, 2)
    nearest = np.clip(np.rint(pairs), -127, 127)
    error = np.square(pairs - nearest).sum(axis=2)
    for n, pair in np.argwhere(np.abs(nearest.sum(axis=2)) > 128):
        error[n, pair] = np.square(pairs[n, pair] - _PAIRS).sum(axis=1).min()  # of all pairs there are
    return error.sum(axis=1) * steps.astype(np.float64) ** 2


@settings(max_examples=40)
@given(rows())
def test_rounded_to_the_nearest(w: np.ndarray) -> None:
    codes, steps = coded(w, limit_pairs=False)
    most = np.abs(w).max(axis=1)
    assert codes.dtype == np.int8
    assert steps.dtype == np.float32
    assert np.array_equal(steps, np.where(most > 0, most / np.float32(127), np.float32(1)))
    assert (
        np.abs(w.astype(np.float64) - codes * steps.astype(np.float64)[:, None]).max(axis=1) <= 0.5001 * steps
    ).all()
    assert np.array_equal(np.abs(codes).max(axis=1), np.where(most > 0, 127, 0))


def count_large_pairs(w: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """How many pairs of each row have to be limited."""
    counted = w / steps[:, None]
    return (np.abs(counted[:, 0 : w.shape[1] // 2 * 2 : 2] + counted[:, 1::2]) > layout.PAIR).sum(axis=1)


@settings(max_examples=40)
@given(rows())
def test_limited_pairs_and_no_better_ones(w: np.ndarray) -> None:
    """Every panel is limited; each pair is the best that there is at its row's step; no row is better at the finest."""
    codes, steps = coded(w, limit_pairs=True)
    assert layout.limited(codes).all()
    assert (codes >= -127).all()
    finest = coded(w, limit_pairs=False)[1]
    assert (steps >= finest).all()
    assert (steps <= 2 * finest).all()
    error = squared_error(w, codes, steps)
    assert (error <= limited_at(w, steps) * 1.0001).all()
    # Errors are counted in parts of a step, and of a limited pair as if halves of steps were codes too: two candidates
    # that are nearly alike may be taken for each other.
    parts = w.shape[1] * (finest.astype(np.float64) / 128) ** 2
    halves = sum(0.5 * count_large_pairs(w, some) * some.astype(np.float64) ** 2 for some in (steps, finest))
    assert (error <= limited_at(w, finest) * 1.02 + parts + halves).all()


def test_what_cannot_be_in_finest_steps_is_counted_more_coarsely() -> None:
    w = np.random.default_rng(0).standard_normal((8, 768)).astype(np.float32)
    codes, steps = coded(w, limit_pairs=True)
    finest = coded(w, limit_pairs=False)[1]
    assert 1.1 < (steps / finest).mean() < 1.6
    assert squared_error(w, codes, steps).mean() < 0.5 * limited_at(w, finest).mean()
    already = np.where(np.arange(768) % 2, 0, w).astype(np.float32)
    assert np.array_equal(coded(already, limit_pairs=True)[1], coded(already, limit_pairs=False)[1])


@pytest.mark.parametrize("k", [64, 768, 9000])
def test_no_order_of_sums_shows(k: int) -> None:
    """A row's codes are its own, wherever it stands, and pairs of columns may change places."""
    rng = np.random.default_rng(k)
    w = rng.standard_normal((300, k)).astype(np.float32)
    codes, steps = coded(w, limit_pairs=True)
    for i in (0, 150, 299):
        alone = coded(w[i : i + 1], limit_pairs=True)
        assert np.array_equal(alone[0][0], codes[i])
        assert alone[1][0] == steps[i]
    order = rng.permutation(k // 2)
    moved = w.reshape(len(w), -1, 2)[:, order].reshape(w.shape)
    again = coded(np.asfortranarray(moved), limit_pairs=True)
    assert np.array_equal(again[0], codes.reshape(len(w), -1, 2)[:, order].reshape(w.shape))
    assert np.array_equal(again[1], steps)


def test_pairs_are_limited_to_what_the_kernels_take() -> None:
    assert PAIR == layout.PAIR


def test_errors_are_counted_in_whole_numbers() -> None:
    """Of parts of a step: so their sum is the same in any order."""
    w = np.random.default_rng(2).standard_normal((3, 9000)).astype(np.float32) * 40
    coarser = np.array([1, 1.25, 2], np.float32)
    counted = _rounding(w, coarser) * 128**2
    assert np.array_equal(counted, np.rint(counted))
    exact = w.astype(np.float64) / coarser[:, None]
    assert counted / 128**2 == pytest.approx(np.square(exact - np.rint(exact)).sum(axis=1), rel=1e-3)


def test_odd_rows() -> None:
    w = np.zeros((4, 3), np.float32)
    w[1], w[2], w[3] = 1e-45, 3e38, [127, 127, -127]
    for limit_pairs in (False, True):
        codes, steps = coded(w, limit_pairs=limit_pairs)
        assert np.isfinite(steps).all()
        assert (steps > 0).all()
        assert not codes[:2].any()
        assert steps[0] == 1
        assert (codes[2, :2].sum(dtype=int) <= 128) == limit_pairs
    assert coded(np.zeros((0, 5), np.float32), limit_pairs=True)[0].shape == (0, 5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    w = np.ones((2, 4), np.float32)
    w[1, 2] = value
    with pytest.raises(ValueError, match="not finite"):
        coded(w, limit_pairs=True)
