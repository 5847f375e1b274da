"""The engine's single operations against the reference over `exact`: every remainder, every float."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends.engine.operations import Operations
from minidistil.backends.reference import exact
from minidistil.backends.reference.model import NARROW
from minidistil.weights.model_weights import Linear, Norm
from tests.bits import assert_same_bits

ODD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-40, 3e38, -3e38], np.float32)


def floats(generator: np.random.Generator, *shape: int, odd: bool = False) -> np.ndarray:
    x = generator.standard_normal(shape, dtype=np.float32)
    if odd and x.size:
        x.reshape(-1)[generator.integers(0, x.size, 3)] = generator.choice(ODD, 3)
    return x


def linear(x: np.ndarray, w: Linear) -> np.ndarray:
    """The reference's product."""
    return exact.narrow(x, w) if len(w.bias) in NARROW else exact.linear(x, w)


sizes = st.one_of(st.integers(1, 60), st.sampled_from([95, 96, 97, 191, 193, 385]))


@given(st.integers(1, 30), st.integers(1, 500), st.integers(1, 30), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_products_of_vectors_do_not_look_at_how_many_there_are(m: int, k: int, n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    x, y = floats(generator, m, k), floats(generator, n, k)
    whole = Operations().products(x, y)
    many = Linear(np.concatenate([y, floats(generator, 40, k)]), np.zeros(n + 40, np.float32))
    assert_same_bits(np.ascontiguousarray(whole), np.ascontiguousarray(exact.linear(x, many)[:, :n]))
    i, j = generator.integers(m), generator.integers(n)
    assert_same_bits(Operations().products(x[i : i + 1], y[j : j + 1])[0, 0], whole[i, j])


@given(st.integers(0, 40), sizes, sizes, st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_linear(m: int, k: int, n: int, odd: bool, seed: int) -> None:
    generator = np.random.default_rng(seed)
    w = Linear(floats(generator, n, k), floats(generator, n))
    x = floats(generator, m, k, odd=odd)
    got = Operations().linear(x, w)
    assert got.flags.c_contiguous
    assert_same_bits(got, linear(x, w))


@given(st.integers(0, 9), sizes, st.integers(1, 13), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_linear_of_few_columns(m: int, k: int, n: int, odd: bool, seed: int) -> None:
    generator = np.random.default_rng(seed)
    w = Linear(floats(generator, n, k, odd=odd), floats(generator, n))
    x = floats(generator, m, k, odd=odd)
    assert_same_bits(Operations().linear(x, w), linear(x, w))


@given(st.integers(0, 9), sizes.filter(lambda d: d >= 8), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_layer_norm(m: int, d: int, odd: bool, seed: int) -> None:
    generator = np.random.default_rng(seed)
    w = Norm(floats(generator, d), floats(generator, d), 1e-5)
    x = floats(generator, m, d, odd=odd)
    assert_same_bits(Operations().layer_norm(x, w), exact.layer_norm(x, w))


def test_a_row_does_not_see_its_neighbours() -> None:
    generator = np.random.default_rng(0)
    operations, w = Operations(), Linear(floats(generator, 3, 400), floats(generator, 3))
    x = floats(generator, 300, 400)
    together = operations.linear(x, w)
    for i in (0, 7, 143, 144, 299):
        assert_same_bits(operations.linear(x[i : i + 1], w)[0], together[i])


def test_any_layout_and_read_only_arrays() -> None:
    generator = np.random.default_rng(1)
    w = Linear(floats(generator, 5, 20), floats(generator, 5))
    for array in (w.weight, w.bias):
        array.flags.writeable = False
    wide = floats(generator, 8, 40)
    wide.flags.writeable = False
    operations = Operations()
    assert_same_bits(operations.linear(wide[::2, 1::2], w), linear(np.ascontiguousarray(wide[::2, 1::2]), w))
    every_third = np.ascontiguousarray(wide[:, ::3])
    assert_same_bits(operations.activation("gelu", wide[:, ::3]), exact.activation("gelu", every_third))
    norm = Norm(w.weight[0], w.weight[1], 1e-12)
    assert_same_bits(operations.layer_norm(wide[:, :20], norm), exact.layer_norm(wide[:, :20].copy(), norm))


@pytest.mark.parametrize("shape", [(0,), (3, 0), (1,), (2, 3, 5)])
def test_activation_keeps_any_shape_and_its_input(shape: tuple[int, ...]) -> None:
    x = floats(np.random.default_rng(2), *shape)
    before = x.copy()
    for name in ("gelu", "relu", "tanh"):
        assert Operations().activation(name, x).shape == shape
    assert_same_bits(x, before)


def test_an_unknown_activation() -> None:
    with pytest.raises(ValueError, match="gelo"):
        Operations().activation("gelo", np.zeros(1, np.float32))


def test_products_are_packed_once_by_identity_and_from_any_thread() -> None:
    generator = np.random.default_rng(3)
    operations = Operations()
    weights = [Linear(floats(generator, 7, 33), floats(generator, 7)) for _ in range(8)]
    x = floats(generator, 5, 33)
    want = [linear(x, w) for w in weights]
    with ThreadPoolExecutor(8) as pool:
        for got, i in zip(pool.map(lambda i: operations.linear(x, weights[i % 8]), range(64)), range(64), strict=True):
            assert_same_bits(got, want[i % 8])
    assert len(operations._products) == 8
