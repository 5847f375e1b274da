"""LayerNorm's backward pass against its oracle, and the oracle against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends.reference import exact
from minidistil.backends.reference.learning.norms import layer_norm_backward, layer_norm_forward, norm_gradient
from minidistil.kernels.layout import address
from minidistil.kernels.steps.table import Matrix
from minidistil.kernels.steps.training.layer_norm import LayerNorm
from minidistil.kernels.steps.training.layer_norm_backward import LayerNormBackward
from minidistil.kernels.steps.training.norm_gradient import NormGradient
from minidistil.weights.model_weights import Norm
from tests.bits import assert_same_bits
from tests.kernels.values import normal, with_non_finite
from tests.learning.operations import guarded, guarded_vector, take_together

NONE = Matrix(0, 0)
WIDTHS = [*range(1, 50), 63, 64, 65, 80, 100, 128, 312, 384, 768, 1000, 1024]
TOKENS = [*range(1, 50), 191, 192, 193, 255, 301, 383, 384, 385, 400, 577]
each_team = pytest.mark.parametrize("threads", [1, 2, 5])


def values(tokens: int, n: int, non_finite: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray, Norm]:
    """dy, more and x, float32 [T, D], and weights."""
    arrays = [normal(i, tokens, n, scale=2) for i in range(3)]
    if non_finite:
        arrays = [with_non_finite(x, i) for i, x in enumerate(arrays)]
    return *arrays, Norm(normal(3, n), normal(4, n), 1e-12)


@each_team
@pytest.mark.parametrize("n", WIDTHS)
def test_forward(n: int, threads: int) -> None:
    """The bits of inference, beside x; and the moments."""
    _, _, x, w = values(6, n)
    x_, out, moments = guarded(*x.shape, x), guarded(*x.shape), guarded(1, 12)
    operands = (x_.matrix, out.matrix, moments.matrix.address, 6, n, address(w.weight), address(w.bias), w.eps)
    take_together(LayerNorm(*operands), threads=threads)
    y, kept = layer_norm_forward(x, w)
    assert_same_bits(out.check(), y)
    assert_same_bits(y, exact.layer_norm(x, w))
    assert_same_bits(moments.check().reshape(6, 2), kept)
    assert_same_bits(x_.check(), x)
    if n > 1:
        np.testing.assert_allclose(kept[:, 0], x.astype(float).mean(1), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(kept[:, 1], 1 / x.astype(float).std(1), rtol=1e-5)


def check_backward(tokens: int, n: int, threads: int = 1, second: bool = True, non_finite: bool = False) -> None:
    dy, more, x, w = values(tokens, n, non_finite)
    _, kept = layer_norm_forward(x, w)
    dy_, more_, x_, out = (
        guarded(*dy.shape, dy),
        guarded(*more.shape, more, 6),
        guarded(*x.shape, x, 13),
        guarded(*x.shape),
    )
    operands = (address(kept), tokens, n, address(w.weight))
    other = more_.matrix if second else NONE
    take_together(LayerNormBackward(dy_.matrix, other, x_.matrix, out.matrix, *operands), threads=threads)
    want = layer_norm_backward(dy, x, kept, w.weight, more if second else None)
    assert_same_bits(out.check(), want, f"T={tokens} D={n}")
    assert_same_bits(dy_.check(), dy)
    take_together(LayerNormBackward(dy_.matrix, other, x_.matrix, dy_.matrix, *operands), threads=threads)
    assert_same_bits(dy_.check(), want, "in place")
    assert non_finite != np.isfinite(want).all() or n == 1  # a single number has no variance


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("n", WIDTHS)
def test_backward_of_every_width(n: int, second: bool) -> None:
    check_backward(5, n, second=second)


@each_team
@pytest.mark.parametrize("tokens", [1, 2, 3, 7, 8, 9, 30])
def test_backward_of_teams(tokens: int, threads: int) -> None:
    check_backward(tokens, 50, threads)


@pytest.mark.parametrize("second", [False, True])
def test_backward_lets_nan_and_infinities_through(second: bool) -> None:
    check_backward(40, 50, second=second, non_finite=True)


def test_lanes_beyond_the_row_add_nothing() -> None:
    """Moments that are not finite meet zeros there, and zero times infinity would be NaN."""
    _, _, x, w = values(4, 19)
    dy, gain = np.ones_like(x), np.abs(w.weight)
    kept = np.array([[np.inf, 1], [-np.inf, 1], [0, np.inf], [np.nan, 1]], np.float32)
    out = guarded(*x.shape)
    operands = (out.matrix, address(kept), 4, 19, address(gain))
    take_together(LayerNormBackward(Matrix(address(dy), 19), NONE, Matrix(address(x), 19), *operands))
    want = layer_norm_backward(dy, x, kept, gain)
    assert_same_bits(out.check(), want)
    assert np.isinf(want[:2]).all()


def check_gradient(tokens: int, n: int, threads: int = 1, second: bool = True, non_finite: bool = False) -> None:
    dy, more, x, w = values(tokens, n, non_finite)
    _, kept = layer_norm_forward(x, w)
    dgain, dshift = normal(5, n), normal(6, n)
    dy_, more_, x_ = guarded(*dy.shape, dy), guarded(*more.shape, more, 6), guarded(*x.shape, x, 13)
    gain, shift = guarded_vector(dgain), guarded_vector(dshift)
    operands = (address(kept), tokens, n, gain.matrix.address, shift.matrix.address)
    take_together(NormGradient(dy_.matrix, more_.matrix if second else NONE, x_.matrix, *operands), threads=threads)
    want = norm_gradient(dy, x, kept, dgain, dshift, more if second else None)
    assert_same_bits(gain.check()[0], want[0], f"gain, T={tokens} D={n}")
    assert_same_bits(shift.check()[0], want[1], f"shift, T={tokens} D={n}")
    assert non_finite != np.isfinite(want).all() or n == 1


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("tokens", TOKENS)
def test_gradient_of_every_number_of_tokens(tokens: int, second: bool) -> None:
    check_gradient(tokens, 37, second=second)


@each_team
@pytest.mark.parametrize("n", WIDTHS)
def test_gradient_of_every_width(n: int, threads: int) -> None:
    check_gradient(6, n, threads)


@pytest.mark.parametrize("tokens", [20, 200, 400])
def test_gradient_lets_nan_and_infinities_through(tokens: int) -> None:
    check_gradient(tokens, 37, non_finite=True)


@given(st.integers(1, 400), st.integers(1, 140), st.integers(1, 3), st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_shape(tokens: int, n: int, threads: int, second: bool) -> None:
    check_backward(tokens, n, threads, second)
    check_gradient(tokens, n, threads, second)


def test_no_tokens_change_nothing() -> None:
    gain, shift, nothing = normal(1, 7), normal(2, 7), Matrix(address(normal(3, 7)), 7)
    got = gain.copy(), shift.copy()
    take_together(NormGradient(nothing, NONE, nothing, 0, 0, 7, address(got[0]), address(got[1])))
    none = np.zeros((0, 7), np.float32)
    want = norm_gradient(none, none, np.zeros((0, 2), np.float32), gain, shift)
    for a, b, c in zip(got, want, (gain, shift), strict=True):
        assert_same_bits(a, b)
        assert_same_bits(a, c)


@pytest.mark.parametrize("eps", [1e-12, 0.1])
def test_the_oracle_is_the_derivative(eps: float) -> None:
    """Against finite differences of sum((dy + more) y) in float64."""
    dy, more, x, w = values(7, 21)
    w = Norm(w.weight, w.bias, eps)
    _, kept = layer_norm_forward(x, w)
    dx = layer_norm_backward(dy, x, kept, w.weight, more)
    dgain, dshift = norm_gradient(dy, x, kept, np.zeros(21, np.float32), np.zeros(21, np.float32), more)
    arrays = [a.astype(np.float64) for a in (x, w.weight, w.bias)]
    d = dy.astype(np.float64) + more

    def loss(x: np.ndarray, gain: np.ndarray, shift: np.ndarray) -> float:
        mean, var = x.mean(1, keepdims=True), x.var(1, keepdims=True)
        return float((d * ((x - mean) / np.sqrt(var + eps) * gain + shift)).sum())

    for i, gradient in enumerate((dx, dgain, dshift)):
        for at in np.ndindex(gradient.shape):
            sides = []
            for step in (1e-5, -1e-5):
                moved = [a.copy() for a in arrays]
                moved[i][at] += step
                sides.append(loss(*moved))
            slope = (sides[0] - sides[1]) / 2e-5
            assert abs(slope - gradient[at]) < 2e-5 * (1 + abs(slope)), (i, at)
