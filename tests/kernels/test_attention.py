"""Attention against `exact`: every length, head widths that fill no vector, biases, NaN and infinities."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends.reference import exact
from minidistil.kernels import layout
from minidistil.kernels.products import ahead
from minidistil.kernels.products.tile import FETCHED
from minidistil.kernels.steps.attend import Attend
from minidistil.kernels.steps.table import Matrix
from minidistil.kernels.steps.take import take
from tests.bits import assert_same_bits
from tests.fence import fenced
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


@pytest.mark.parametrize(("keys", "queries", "head_dim", "lengths"), [
    (128, 128, 64, [64, 64, 128]), (128, 3, 64, [64, 128]), (50, 50, 64, [64, 50]), (1, 1, 1, [1]),
    (9, 7, 200, [100, 9]), (300, 300, 26, [26, 150, 150]), (512, 512, 64, [192, 192, 128]),
])  # fmt: skip
def test_pieces_that_tiles_fetch_are_all_of_the_next_head(keys, queries, head_dim, lengths) -> None:
    """Each byte of its rows, whatever lengths the tiles' sums have, and little beyond; then no more."""
    ld, ld_context = head_dim + 50, head_dim + 9
    starts = [i << 20 for i in range(1, 5)]  # of k, v, q and the context
    head = ahead.Ahead(*starts, keys, queries, head_dim, ld, ld_context)
    missing = {
        (start, row, byte)
        for start, rows in zip(starts, (keys, keys, queries, queries), strict=True)
        for row in range(rows)
        for byte in range(head_dim * 4)
    }
    done, pieces = (0, 0, 0), 0
    while done[0] < ahead.MATRICES:
        length = lengths[pieces % len(lengths)]
        address, step = ahead._piece.py_func(head, done)
        start = max(one for one in starts if one <= address)
        assert step == (ld_context if start == starts[3] else ld) * 4
        row, byte = divmod(address - start, step)
        fetched = range(byte, min(byte + FETCHED, head_dim * 4))
        missing -= {(start, row + i, j) for i in range(length) for j in fetched}
        done, pieces = ahead._following.py_func(head, done, length), pieces + 1
    assert not missing
    columns, most = -(-head_dim * 4 // FETCHED), max(keys, queries)
    assert pieces <= ahead.MATRICES * columns * -(-most // min(lengths))


@pytest.mark.skipif(sys.platform != "linux", reason="memory that may not be touched is made as Linux does")
@pytest.mark.parametrize("d", [64, 200])
def test_of_what_is_fetched_ahead_nothing_need_be_there(d: int) -> None:
    """Sentences of which a tile fetches more rows than there are, at the end of their memory; and of no wanted rows."""
    lengths, wanted, heads = [50, 130, 0, 600, 49], [50, 1, 0, 0, 49], 2
    offsets, q_offsets = (np.cumsum([0, *some]) for some in (lengths, wanted))
    whole, k, v = (fenced(normal(i, offsets[-1], heads * d)) for i in (1, 2, 3))
    q = fenced(np.concatenate([whole[start : start + n] for start, n in zip(offsets, wanted, strict=False)]))
    context = fenced(np.full_like(q, 3e33))
    arrays = [Matrix(layout.address(x), heads * d) for x in (q, k, v, context)]
    places = map(layout.address, (offsets, q_offsets))
    take(
        Attend(*arrays, heads, d, 1 / np.sqrt(d), len(lengths), *places, 0, 1, 0, 0),
        scratch_floats=layout.scratch_floats(max(lengths), d),
    )
    for b in range(len(lengths)):
        if wanted[b]:
            want, _ = exact.attention(*(x[slice(*offsets[b : b + 2])].reshape(-1, heads, d) for x in (whole, k, v)))
            got = context[slice(*q_offsets[b : b + 2])]
            assert_same_bits(got, want[: wanted[b]].reshape(-1, heads * d), f"sentence {b}")
