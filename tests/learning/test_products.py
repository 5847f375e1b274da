"""The backward pass of products against its oracle: every remainder of tokens and columns, and every kind of block."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends.reference import exact
from minidistil.backends.reference.learning.linear import column_sums, input_gradient, linear_backward, weight_gradient
from minidistil.kernels import layout
from minidistil.kernels.code import target
from minidistil.kernels.steps.product import Product
from minidistil.kernels.steps.table import Matrix, Packed
from minidistil.kernels.steps.training.column_sums import ColumnSums
from minidistil.kernels.steps.training.pack_columns import PackColumns
from minidistil.kernels.steps.training.weight_gradient import WeightGradient
from tests.bits import assert_same_bits
from tests.kernels.values import normal, with_non_finite
from tests.learning.operations import guarded, guarded_vector, take_together

TOKENS = [*range(1, 50), 63, 64, 65, 191, 192, 193, 194, 255, 301, 383, 384, 385, 400, 575, 576, 577, 800]
"""Every remainder, and every kind of block that `chain_length` makes."""

each_team = pytest.mark.parametrize("threads", [1, 2, 5])


def check_weight_gradient(tokens: int, n: int, k: int, threads: int = 1, non_finite: bool = False) -> None:
    dy, x, start = normal(1, tokens, n), normal(2, tokens, k), normal(3, n, k)
    if non_finite:
        dy, x = with_non_finite(dy, 4), with_non_finite(x, 5)
    dy_, x_, out = guarded(*dy.shape, dy, 7), guarded(*x.shape, x, 11), guarded_vector(start)
    take_together(WeightGradient(dy_.matrix, x_.matrix, tokens, n, k, out.matrix.address), threads=threads)
    want = weight_gradient(dy, x, start)
    assert_same_bits(out.check().reshape(n, k), want, f"T={tokens} N={n} K={k}")
    assert non_finite != np.isfinite(want).all()


@pytest.mark.parametrize("tokens", TOKENS)
def test_weight_gradient_of_every_number_of_tokens(tokens: int) -> None:
    check_weight_gradient(tokens, 33, 49)


@pytest.mark.parametrize("n", [*range(1, 35), 47, 48, 49, 143, 575, 576, 577, 1153])
def test_weight_gradient_of_every_number_of_rows(n: int) -> None:
    check_weight_gradient(20, n, 50)


@pytest.mark.parametrize("k", [*range(1, 50), 95, 96, 97, 144, 385])
def test_weight_gradient_of_every_number_of_columns(k: int) -> None:
    check_weight_gradient(20, 17, k)


@each_team
@pytest.mark.parametrize(("tokens", "n", "k"), [(1, 1, 1), (200, 2, 400), (300, 600, 100), (193, 100, 49)])
def test_weight_gradient_of_teams(tokens: int, n: int, k: int, threads: int) -> None:
    check_weight_gradient(tokens, n, k, threads)


@pytest.mark.parametrize("tokens", [17, 200, 401])
def test_weight_gradient_lets_nan_and_infinities_through(tokens: int) -> None:
    check_weight_gradient(tokens, 33, 50, non_finite=True)


@given(st.integers(1, 450), st.integers(1, 70), st.integers(1, 110), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_weight_gradient_of_any_shape(tokens: int, n: int, k: int, threads: int) -> None:
    check_weight_gradient(tokens, n, k, threads)


def test_a_minus_zero_is_added_to() -> None:
    """A gradient begins with zero: a sum of minus zeros does not make it one."""
    dy, x, out = -np.zeros((3, 5), np.float32), np.ones((3, 7), np.float32), np.zeros((5, 7), np.float32)
    take_together(
        WeightGradient(Matrix(layout.address(dy), 5), Matrix(layout.address(x), 7), 3, 5, 7, layout.address(out))
    )
    assert not out.view(np.uint32).any()
    assert_same_bits(weight_gradient(dy, x, np.zeros((5, 7), np.float32)), out)


@each_team
@pytest.mark.parametrize("n", [1, 15, 16, 47, 48, 49, 100, 193, 384, 400])
@pytest.mark.parametrize("k", [1, 20, 48, 97])
def test_pack_columns(n: int, k: int, threads: int) -> None:
    """The same bytes as packing the transposed matrix."""
    w = normal(1, n, k)
    want = np.zeros((layout.panels(k), n, layout.PANEL), np.float32)
    layout.pack(np.ascontiguousarray(w.T), want, target.sliver())
    out = guarded(1, want.size)
    take_together(PackColumns(layout.address(w), n, k, out.matrix.address, 0, n), threads=threads)
    assert_same_bits(out.check()[0], want.ravel())


@pytest.mark.parametrize("heights", [(100, 100, 100), (192, 192, 192), (1, 200, 5), (70, 300), (8, 8, 8)])
def test_pack_columns_of_several_weights(heights: tuple[int, ...]) -> None:
    """Matrices one above another are one, wherever blocks begin."""
    of, k = sum(heights), 50
    w = normal(1, of, k)
    want = np.zeros((layout.panels(k), of, layout.PANEL), np.float32)
    layout.pack(np.ascontiguousarray(w.T), want, target.sliver())
    out = guarded(1, want.size)
    for end, height in zip(np.cumsum(heights).tolist(), heights, strict=True):
        part = np.ascontiguousarray(w[end - height : end])
        take_together(PackColumns(layout.address(part), height, k, out.matrix.address, end - height, of))
    assert_same_bits(out.check()[0], want.ravel())


@each_team
@pytest.mark.parametrize("tokens", [1, 5, 200])
def test_input_gradient(tokens: int, threads: int) -> None:
    """dX = dY W is a product like any other, once W is packed for it."""
    n, k = 385, 50
    dy, w = normal(1, tokens, n), normal(2, n, k)
    packed = np.full((layout.panels(k), n, layout.PANEL), np.nan, np.float32)
    dy_, out = guarded(*dy.shape, dy), guarded(tokens, k)
    bias = np.full(layout.padded_columns(k), -0.0, np.float32)
    matrix = Packed(layout.address(packed), layout.address(bias), n, k)
    take_together(
        PackColumns(layout.address(w), n, k, layout.address(packed), 0, n),
        Product(dy_.matrix, matrix, out.matrix, tokens),
        threads=threads,
    )
    assert_same_bits(out.check(), input_gradient(dy, w))


def check_column_sums(tokens: int, n: int, threads: int = 1, non_finite: bool = False) -> None:
    x, start = normal(1, tokens, n), normal(2, n)
    if non_finite:
        x = with_non_finite(x, 3)
    x_, out = guarded(*x.shape, x), guarded_vector(start)
    take_together(ColumnSums(x_.matrix, tokens, n, out.matrix.address), threads=threads)
    want = column_sums(x, start)
    assert_same_bits(out.check()[0], want, f"T={tokens} N={n}")
    assert non_finite != np.isfinite(want).all()


@pytest.mark.parametrize("tokens", TOKENS)
def test_column_sums_of_every_number_of_tokens(tokens: int) -> None:
    check_column_sums(tokens, 81)


@each_team
@pytest.mark.parametrize("n", [*range(1, 35), 63, 64, 65, 79, 80, 127, 128, 129, 200])
def test_column_sums_of_every_width(n: int, threads: int) -> None:
    check_column_sums(7, n, threads)


@pytest.mark.parametrize("tokens", [9, 200, 400])
def test_column_sums_let_nan_and_infinities_through(tokens: int) -> None:
    check_column_sums(tokens, 81, non_finite=True)


def test_no_tokens_change_nothing() -> None:
    start = normal(1, 5, 7)
    out, sums, nothing = start.copy(), start[0].copy(), Matrix(layout.address(start), 7)
    take_together(
        WeightGradient(nothing, nothing, 0, 5, 7, layout.address(out)),
        ColumnSums(nothing, 0, 7, layout.address(sums)),
    )
    none = np.zeros((0, 7), np.float32)
    assert_same_bits(out, weight_gradient(none[:, :5], none, start))
    assert_same_bits(sums, column_sums(none, start[0]))
    assert_same_bits(out, start)
    assert_same_bits(sums, start[0])


def test_the_oracle_is_the_derivative_of_a_product() -> None:
    """Against finite differences in float64 of sum(G (X W^T + b)), which is linear in each: exact but for rounding."""
    x, w, b, g = normal(1, 21, 13), normal(2, 9, 13), normal(3, 9), normal(4, 21, 9)
    dx, dw, db = linear_backward(g, x, w, np.zeros_like(w), np.zeros_like(b))
    arrays = [a.astype(np.float64) for a in (x, w, b)]

    def loss(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> float:
        return float((g * (x @ w.T + b)).sum())

    for i, gradient in enumerate((dx, dw, db)):
        for at in np.ndindex(gradient.shape):
            moved = [a.copy() for a in arrays]
            moved[i][at] += 0.5
            slope = (loss(*moved) - loss(*arrays)) / 0.5
            assert abs(slope - gradient[at]) < 1e-5 * (1 + abs(slope)), (i, at)


def test_sums_run_in_the_order_of_every_product() -> None:
    """A block of tokens at a time: the bits are those of products of the blocks, whatever the length."""
    dy, x, start = normal(1, 500, 5), normal(2, 500, 6), normal(3, 5, 6)
    total = start
    for first in (0, 192, 384):
        total = total + exact.product(dy[first : first + 192].T, x[first : first + 192].T)
    assert_same_bits(weight_gradient(dy, x, start), total)
