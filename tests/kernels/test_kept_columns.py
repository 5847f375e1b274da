"""Columns that a product in whole numbers keeps in float32, against the oracle: any number of them, anywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends.reference import exact, int8
from minidistil.kernels import layout
from minidistil.kernels.products.int8_tile import ROWS
from tests.bits import assert_same_bits
from tests.kernels import whole_numbers as whole
from tests.kernels.test_int8 import LENGTHS, check, check_rows, dots, keeping, linear, some_columns
from tests.kernels.values import normal


@dots
@pytest.mark.parametrize("most", [64, 128], ids=["limited", "any"])
def test_every_number_of_rows_with_columns_kept(dot: int, most: int) -> None:
    for m in range(1, 2 * ROWS[dot] + 2):
        check(m, 50, 64, dot, most, columns=[0, 5, 63])
    check(150, 50, 64, dot, most, columns=[7])


@dots
def test_every_width_of_the_last_panel_with_columns_kept(dot: int) -> None:
    for n in (*range(1, 50), 95, 96, 97, 144):
        check(5, n, 17, dot, most=64, columns=[0, 8, 9, 16])


@dots
@pytest.mark.parametrize("count", [1, 9], ids=["one", "several"])
def test_every_length_with_columns_kept(dot: int, count: int) -> None:
    for k in LENGTHS:
        check(9, 49, k, dot, smooth=k % 2 == 0, columns=some_columns(k, count))


@dots
def test_every_number_of_columns_kept_up_to_all(dot: int) -> None:
    for k in (1, 2, 7, 8, 50, 129):
        for count in {*range(1, min(k, 20) + 1), k - 1, k} - {0}:
            check(9, 97, k, dot, columns=range(count))
            check(9, 97, k, dot, smooth=True, columns=range(k - count, k))


@given(st.integers(1, 40), st.integers(1, 120), st.data(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_shape_with_any_columns_kept(m: int, n: int, data: st.DataObject, smooth: bool) -> None:
    k = data.draw(st.integers(1, 300))
    columns = sorted(data.draw(st.sets(st.integers(0, k - 1), min_size=1, max_size=60)))
    for dot in whole.DOTS.values():
        check(m, n, k, dot, smooth=smooth, columns=columns)


@dots
def test_columns_are_added_in_their_order_and_before_the_activation(dot: int) -> None:
    """Each by one rounding: other orders, and a sum of its own, have other bits, of which the oracle tells."""
    x, w = normal(1, 20, 60), keeping(linear(2, 100, 60), some_columns(60, 12))
    assert w.kept is not None
    want = int8.linear(x, w)
    without, columns = int8.linear(x * (w.smooth != 0), w), x[:, w.columns]
    backwards = apart = without
    for i in reversed(range(len(w.columns))):
        backwards = int8.fma(columns[:, i, None], w.kept[:, i], backwards)
    apart = without + columns @ w.kept.T
    assert (backwards != want).any()
    assert (apart != want).any()
    for name in ("linear", "gelu", "tanh"):
        got = whole.product(whole.coded(x, w.smooth), w, dot, layout.ACTIVATIONS[name])
        assert_same_bits(got, exact.activation(name, want))


def test_a_column_that_is_kept_takes_no_steps_from_the_others() -> None:
    """However large it is there; where it overflows, the result does as in the oracle. And rows of nothing else."""
    columns = [0, 7, 39]
    for spare in (0, 1):
        w = keeping(linear(1, 60 + spare, 40, smooth=bool(spare)), columns)
        x = normal(2, 12, 40)
        plain = check_rows(x, w.smooth)
        x[1:7, 7] = np.float32([1e4, -1e30, 3e38, -3e38, 1e-45, -0.0])
        x[7:9, columns] = np.float32([[3e38, 3e38, -3e38], [1e-40, -1e-45, 1e-39]])
        x[9:12, 1:] = 0
        x[9:12, 7] = np.float32([0, 5, 1e38])
        rows = check_rows(x, w.smooth)
        assert (rows.scale[:9] == plain.scale[:9]).all()
        assert (rows.scale[9:] == 1).all()
        with np.errstate(all="ignore"):
            want = int8.linear(x, w)
        assert np.isinf(want[3]).any()
        for dot in whole.DOTS.values():
            assert_same_bits(whole.product(rows, w, dot), want)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_what_is_not_finite_makes_its_row_nan_where_columns_are_kept(value: float) -> None:
    """In a column that is kept, and in another; and no other row."""
    for k, columns in ((5, [2]), (40, [0, 7, 39]), (40, range(40))):
        w = keeping(linear(1, 50, k), columns)
        for place in range(k):
            x = normal(2, 3, k)
            x[1, place] = value
            rows = check_rows(x, w.smooth)
            want = int8.linear(x, w)
            assert np.isnan(want[1]).all()
            assert np.isfinite(want[::2]).all()
            for dot in whole.DOTS.values():
                assert_same_bits(whole.product(rows, w, dot), want)
