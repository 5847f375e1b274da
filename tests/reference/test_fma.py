"""The single-rounding multiply-add, and the products made of it, against exact rational arithmetic."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends.reference import exact
from minidistil.weights.model_weights import Linear
from tests.bits import assert_same_bits
from tests.reference import rationals

f32 = np.float32
finite = st.floats(width=32, allow_nan=False, allow_infinity=False).map(f32)
mantissa = st.integers(2**23, 2**24 - 1)
sign = st.sampled_from([-1.0, 1.0])


@st.composite
def near_ties(draw: st.DrawFn) -> tuple[f32, f32, f32]:
    """a, b, c whose sum a b + c lies at, or within 2^-46 of, the middle between two float32 (subnormal ones too)."""
    exponent = draw(st.integers(-149, 103))  # of c's last place
    c = draw(sign) * draw(st.one_of(st.integers(1, 2**24 - 1), mantissa)) * 2.0**exponent
    half = draw(st.integers(-60, 60))
    up, down = draw(st.sampled_from([(0, 0), (1, -1), (1, 0), (1, 1), (-1, 0), (3, -3), (2, -1)]))
    a = draw(sign) * (1 + up * 2.0**-23) * 2.0**half
    b = (1 + down * 2.0**-23) * 2.0 ** np.clip(exponent - 1 - half, -126, 127)
    return f32(a), f32(b), f32(c)


@st.composite
def around_zero(draw: st.DrawFn) -> tuple[f32, f32, f32]:
    """Products and sums about the smallest float32, and at the border of the subnormal ones."""
    a = f32(draw(sign) * draw(mantissa) * 2.0 ** draw(st.integers(-95, -85)))
    b = f32(draw(mantissa) * 2.0 ** draw(st.integers(-110, -80)))
    c = f32(draw(sign) * draw(st.integers(0, 2**24)) * 2.0**-149)
    return a, b, c


@st.composite
def around_the_largest(draw: st.DrawFn) -> tuple[f32, f32, f32]:
    """Sums about 2^128, where float32 ends."""
    a = f32(draw(mantissa) * 2.0**40)
    b = f32(draw(mantissa) * 2.0 ** draw(st.integers(38, 42)))
    c = f32(draw(sign) * draw(mantissa) * 2.0 ** draw(st.integers(80, 104)))
    return a, b, c


@settings(max_examples=1500, deadline=None)
@given(st.one_of(st.tuples(finite, finite, finite), near_ties(), around_zero(), around_the_largest()))
def test_rounds_once(operands: tuple[f32, f32, f32]) -> None:
    a, b, c = operands
    assert_same_bits(np.asarray(exact.fma(a, b, c)), np.asarray(rationals.fma(a, b, c)), f"fma{operands}")


def test_double_rounding_would_be_seen() -> None:
    """The cases above do tell a sum rounded twice from one rounded once; or they would show nothing."""
    a, b, c = f32(1 + 2**-23), f32((1 - 2**-23) * 2**-24), f32(1 + 2**-23)
    twice = f32(np.float64(a) * np.float64(b) + np.float64(c))
    assert twice != rationals.fma(a, b, c) == exact.fma(a, b, c)
    a, b, c = f32(2**-70), f32((2**-80) * (1 + 2**-23)), f32(3 * 2**-149)  # 3.5 units and a little, below 2^-126
    c = f32(c - 2**-149)
    assert rationals.fma(a, b, c) == exact.fma(a, b, c) == f32(3 * 2**-149)


def test_infinities_and_nan_follow_ieee() -> None:
    inf, nan = f32(np.inf), f32(np.nan)
    a = np.array([inf, inf, 0, inf, nan, 1, 1, 3e38, -3e38], f32)
    b = np.array([1, 0, inf, 1, 1, nan, 1, 3e38, 3e38], f32)
    c = np.array([1, 1, 1, -inf, 1, 1, nan, 0, 0], f32)
    want = np.array([inf, nan, nan, nan, nan, nan, nan, inf, -inf], f32)
    assert_same_bits(exact.fma(a, b, c), want)


def test_broadcasts_and_keeps_the_shape() -> None:
    a = np.arange(6, dtype=f32).reshape(2, 3)
    assert_same_bits(exact.fma(a, f32(2), np.ones(3, f32)), 2 * a + 1)


nasty = st.one_of(
    finite,
    st.floats(-4, 4, width=32).map(f32),
    st.sampled_from([1 + 2**-23, 1 - 2**-24, 2**-24, -(2**-24), 2**-12 * (1 + 2**-23), 2**-75, 0.0, -0.0, 1.0]).map(
        f32
    ),
)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([1, 2, 8, 191, 192, 193, 194, 201, 383, 384, 385, 400]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.lists(nasty, min_size=16, max_size=40),
    st.integers(0, 2**32 - 1),
)
def test_product_is_chains_over_blocks(k: int, m: int, n: int, values: list[f32], seed: int) -> None:
    """Each element: the bias, plus for each block of K the fma chain from zero, one plain sum a block."""
    generator = np.random.default_rng(seed)
    pool = np.array(values)
    x, w, b = generator.choice(pool, (m, k)), generator.choice(pool, (n, k)), generator.choice(pool, n)
    got = exact.linear(x, Linear(w, b))
    want = np.array([[_element(x[i], w[j], b[j]) for j in range(n)] for i in range(m)], f32)
    assert_same_bits(got, want, f"K = {k}")


def _element(x: np.ndarray, w: np.ndarray, bias: f32) -> f32:
    k = len(x)
    if k <= 192:
        edges = [0, k]
    elif k < 384:
        edges = [0, k // 2, k // 2 * 2, k] if k % 2 else [0, k // 2, k]
    else:
        edges = [*range(0, k, 192), k]
    total = bias
    for start, stop in itertools.pairwise(edges):
        acc = f32(0)
        for i in range(start, stop):
            if not np.isfinite(acc):
                acc = exact.fma(x[i], w[i], acc)
            else:
                acc = rationals.fma(x[i], w[i], acc)
        with np.errstate(over="ignore", invalid="ignore"):
            total = f32(total + acc)
    return total


@settings(max_examples=400, deadline=None)
@given(near_ties(), st.integers(0, 190), st.integers(1, 3))
def test_products_round_once(operands: tuple[f32, f32, f32], before: int, rows: int) -> None:
    """A tie within a chain: zeros, then 1 c, then a b, whose sum is the multiply-add of the three."""
    a, b, c = operands
    x, w = np.zeros((rows, before + 2), f32), np.zeros((2, before + 2), f32)
    x[:, -2:], w[:, -2:] = (c, a), (1, b)
    want = f32(rationals.fma(a, b, c) + f32(0))  # the bias: -0 becomes 0
    got = exact.linear(x, Linear(w, np.zeros(2, f32)))
    assert_same_bits(got, np.full((rows, 2), want), f"{operands} after {before} zeros")


@pytest.mark.parametrize(
    ("k", "edges"),
    [
        (1, [0, 1]),
        (192, [0, 192]),
        (194, [0, 97, 194]),
        (193, [0, 96, 192, 193]),
        (383, [0, 191, 382, 383]),
        (384, [0, 192, 384]),
        (400, [0, 192, 384, 400]),
        (768, [0, 192, 384, 576, 768]),
    ],
)
def test_blocks(k: int, edges: list[int]) -> None:
    assert exact.blocks(k) == edges
