"""The backward pass of activations against its oracle, and the oracle against finite differences in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends import learning
from minidistil.backends.reference import exact
from minidistil.backends.reference.learning.activations import DERIVATIVES, activation_backward
from minidistil.kernels import layout
from minidistil.kernels.steps.table import Matrix
from minidistil.kernels.steps.training.activate_rows import ActivateRows
from minidistil.kernels.steps.training.activation_backward import ActivationBackward
from tests.bits import assert_same_bits
from tests.goldens.operations import activation_inputs
from tests.kernels.values import awkward, normal, with_non_finite
from tests.learning.operations import guarded, take_together

each_name = pytest.mark.parametrize("name", DERIVATIVES)
each_team = pytest.mark.parametrize("threads", [1, 2, 5])
_erf = np.vectorize(math.erf)

FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu": lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2,
    "gelu_new": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "linear": lambda x: x,
}


def check(name: str, dy: np.ndarray, x: np.ndarray, threads: int = 1) -> np.ndarray:
    """Into a third array, in place, and with the value of the activation."""
    (rows, n), number = x.shape, layout.ACTIVATIONS[name]
    want, value = activation_backward(name, dy, x), exact.activation(name, x)
    dy_, x_, out = guarded(*dy.shape, dy, 7), guarded(*x.shape, x, 12), guarded(*x.shape)
    take_together(ActivationBackward(dy_.matrix, x_.matrix, out.matrix, rows, n, number), threads=threads)
    assert_same_bits(out.check(), want, name)
    assert_same_bits(dy_.check(), dy)
    assert_same_bits(x_.check(), x)
    take_together(ActivationBackward(dy_.matrix, x_.matrix, dy_.matrix, rows, n, number, x_.matrix), threads=threads)
    assert_same_bits(dy_.check(), want, f"{name} in place")
    assert_same_bits(x_.check(), value, f"{name} itself")
    return want


def test_every_activation_that_can_be_trained_is_there() -> None:
    assert {layout.ACTIVATIONS[name] for name in DERIVATIVES} == set(layout.DIFFERENTIATED)
    assert {layout.ACTIVATIONS[name] for name in learning.ACTIVATIONS} == set(layout.DIFFERENTIATED)
    same = {name for name, number in layout.ACTIVATIONS.items() if number in layout.DIFFERENTIATED}
    assert same == set(DERIVATIVES)
    with pytest.raises(ValueError, match="mish"):
        activation_backward("mish", np.ones(1, np.float32), np.ones(1, np.float32))


@each_name
def test_every_magnitude(name: str) -> None:
    x = activation_inputs()
    x = np.concatenate([x, -x, np.linspace(-14, 14, 20001, dtype=np.float32), np.float32([0.0, -0.0])])[None]
    got = check(name, np.ones_like(x), x)
    assert name == "linear" or np.isnan(got[np.isnan(x)]).all()
    assert np.isfinite(got).mean() > 0.8
    check(name, awkward(1, *x.shape), x)


@each_name
@pytest.mark.parametrize("n", [*range(1, 50), 100])
def test_every_width(name: str, n: int) -> None:
    check(name, normal(1, 3, n), normal(2, 3, n, scale=3))


@each_name
@each_team
def test_rows_of_teams(name: str, threads: int) -> None:
    for rows in (1, 2, 7, 50):
        check(name, normal(1, rows, 20), normal(2, rows, 20, scale=3), threads)


@each_name
def test_nan_and_infinities(name: str) -> None:
    got = check(name, with_non_finite(normal(1, 40, 50), 1), with_non_finite(normal(2, 40, 50), 2))
    assert not np.isfinite(got).all()


@given(st.sampled_from([*DERIVATIVES]), st.lists(st.tuples(*[st.floats(width=32)] * 2), min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_floats(name: str, pairs: list[tuple[float, float]]) -> None:
    dy, x = np.array(pairs, np.float32).T[:, None].copy()
    check(name, dy, x)


@each_team
@pytest.mark.parametrize("name", layout.ACTIVATIONS)
def test_an_activation_whose_input_is_kept(name: str, threads: int) -> None:
    for rows, n in ((1, 1), (3, 17), (7, 64), (20, 31)):
        x = with_non_finite(normal(1, rows, n, scale=3), 2)
        x_, out = guarded(*x.shape, x), guarded(*x.shape)
        operands = (rows, n, layout.ACTIVATIONS[name])
        take_together(ActivateRows(x_.matrix, out.matrix, *operands), threads=threads)
        assert_same_bits(x_.check(), x)
        assert_same_bits(out.check(), exact.activation(name, x), name)
        take_together(ActivateRows(x_.matrix, x_.matrix, *operands), threads=threads)
        assert_same_bits(x_.check(), exact.activation(name, x), name)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_oracle_is_the_derivative(name: str) -> None:
    """Against finite differences in float64; relu's corner apart."""
    x = np.linspace(-9, 9, 3001)
    x = x[np.abs(x) > 1e-3].astype(np.float32)
    wide, step = x.astype(np.float64), 1e-5
    slope = (FORMULAS[name](wide + step) - FORMULAS[name](wide - step)) / (2 * step)
    got = activation_backward(name, np.full_like(x, 3), x)
    np.testing.assert_allclose(got, 3 * slope, rtol=0, atol=3e-6)
    assert np.abs(slope).max() > 0.9


def test_at_the_ends() -> None:
    """Far from zero a derivative is 0 or 1, and not the product of nothing and infinity."""
    x = np.array([-np.inf, -3e38, -1e20, -100, 0.0, -0.0, 100, 1e20, 3e38, np.inf], np.float32)
    ones = np.ones_like(x)
    for name, middle in (("gelu", 0.5), ("gelu_new", 0.5), ("relu", 0)):
        want = np.array([0] * 4 + [middle] * 2 + [1] * 4, np.float32)
        assert_same_bits(activation_backward(name, ones, x), want, name)


def test_no_rows() -> None:
    nothing = Matrix(layout.address(np.zeros(1, np.float32)), 1)
    take_together(
        ActivationBackward(nothing, nothing, nothing, 0, 1, layout.GELU), ActivateRows(nothing, nothing, 0, 1, 1)
    )
    assert activation_backward("gelu", np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)).shape == (0, 3)
