"""Attention against `exact`: every length, head widths that fill no vector, biases, NaN and infinities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends.reference import exact
from minidistil.kernels import layout
from minidistil.kernels.steps.attend import Attend
from minidistil.kernels.steps.table import Matrix
from minidistil.kernels.steps.take import take
from tests.bits import assert_same_bits
from tests.kernels.values import normal, with_non_finite


def run(q: np.ndarray, k: np.ndarray, v: np.ndarray, bias: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    context = np.full_like(q, 3e33)
    probabilities = np.full((len(q), len(k)), 3e33, np.float32)
    n, d = k.shape
    arrays = [Matrix(layout.address(x), d) for x in (q, k, v, context)]
    offsets, q_offsets, places = np.array([0, n]), np.array([0, len(q)]), np.array([0])
    numbers = (1, d, 1 / np.sqrt(d), 1, *map(layout.address, (offsets, q_offsets, bias)), 1)
    step = Attend(*arrays, *numbers, layout.address(probabilities), layout.address(places))
    take(step, scratch_floats=layout.scratch_floats(n, d))
    return context, probabilities


def check(n: int, d: int, bias: np.ndarray | None = None, non_finite: bool = False, scale: float = 2.0) -> None:
    q, k, v = (normal(i, n, d, scale=scale) for i in (1, 2, 3))
    if non_finite:
        q, k, v = (with_non_finite(x, i) for i, x in enumerate((q, k, v)))
    context, probabilities = run(q, k, v, bias)
    want = exact.attention(q[:, None], k[:, None], v[:, None], None if bias is None else bias[None])
    assert_same_bits(context, np.ascontiguousarray(want[0][:, 0]), f"context, n={n} d={d}")
    assert_same_bits(probabilities, np.ascontiguousarray(want[1][0]), f"probabilities, n={n} d={d}")
    if not non_finite:
        assert np.allclose(probabilities.sum(1), 1, atol=1e-4)


@pytest.mark.parametrize("n", [*range(1, 36), 47, 48, 49, 96, 97])
def test_every_length(n: int) -> None:
    check(n, 16)


@pytest.mark.parametrize("n", [175, 176, 177, 191, 192, 193, 208, 209, 300, 369, 383, 384, 385, 512, 515])
def test_every_kind_of_block(n: int) -> None:
    check(n, 8)


@pytest.mark.parametrize("d", [1, 2, 7, 15, 16, 17, 26, 32, 33, 48, 64, 80, 128, 200])
def test_every_head_width(d: int) -> None:
    check(21, d)


@pytest.mark.parametrize("n", [1, 5, 16, 40])
def test_bias_is_added_to_the_scaled_scores(n: int) -> None:
    bias = normal(9, n, n)
    bias[np.random.default_rng(0).random((n, n)) < 0.3] = -np.inf
    np.fill_diagonal(bias, 0)
    check(n, 16, bias)


def test_a_query_that_may_attend_nothing_gives_zeros() -> None:
    n, d = 20, 16
    bias = np.zeros((n, n), np.float32)
    bias[3] = -np.inf
    check_zero = run(*(normal(i, n, d) for i in (1, 2, 3)), bias)
    assert not check_zero[0][3].any()
    assert not check_zero[1][3].any()
    assert check_zero[0][2].any()


def test_scores_far_apart_give_exact_zeros() -> None:
    check(40, 16, scale=30.0)


@given(st.integers(1, 70), st.integers(1, 70), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_shape(n: int, d: int, with_bias: bool, non_finite: bool) -> None:
    check(n, d, normal(9, n, n) if with_bias else None, non_finite)


def test_some_queries_only() -> None:
    """Rows of the context do not depend on which other queries are asked for."""
    n, d = 40, 16
    q, k, v = (normal(i, n, d) for i in (1, 2, 3))
    whole, _ = run(q, k, v, None)
    for rows in ([0], [39], [5, 6, 7], list(range(11))):
        some, _ = run(np.ascontiguousarray(q[rows]), k, v, None)
        assert_same_bits(some, whole[rows])
