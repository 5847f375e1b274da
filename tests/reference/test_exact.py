"""The exact operations: what they compute, and that no element's bits depend on what is computed beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends.reference import exact
from minidistil.weights.model_weights import EmbeddingWeights, Linear, Norm
from tests.bits import assert_same_bits

f32 = np.float32


def normal(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=f32) * f32(scale)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 200), st.integers(1, 150), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_products_bits_do_not_depend_on_its_neighbours(m: int, n: int, k: int, seed: int) -> None:
    """Rows and columns of a large product, which is worked on in tiles, are those of small ones."""
    x, w, b = normal(seed, m, k), normal(seed + 1, n, k), normal(seed + 2, n)
    whole = exact.linear(x, Linear(w, b))
    i, j = seed % m, seed % n
    assert_same_bits(exact.linear(x[i:], Linear(w[j:], b[j:])), whole[i:, j:])
    assert_same_bits(exact.linear(x[i : i + 1], Linear(w[: j + 1], b[: j + 1])), whole[i : i + 1, : j + 1])


def test_a_product_spans_tiles() -> None:
    x, w, b = normal(0, 65, 9), normal(1, 3000, 9), normal(2, 3000)
    whole = exact.linear(x, Linear(w, b))
    for i, j in ((0, 0), (63, 511), (64, 512), (64, 2999)):
        assert_same_bits(exact.linear(x[i : i + 1], Linear(w[j : j + 1], b[j : j + 1])), whole[i : i + 1, j : j + 1])
    np.testing.assert_allclose(whole, x.astype(float) @ w.T.astype(float) + b, rtol=0, atol=1e-5)


def test_no_rows_give_no_rows() -> None:
    nothing = np.zeros((0, 24), f32)
    assert exact.linear(nothing, Linear(normal(0, 7, 24), normal(1, 7))).shape == (0, 7)
    assert exact.layer_norm(nothing, Norm(normal(0, 24), normal(1, 24), 1e-12)).shape == (0, 24)
    assert exact.gelu(nothing).shape == (0, 24)


@pytest.mark.parametrize("width", [1, 2, 5, 7, 8, 9, 26, 37, 100, 127, 128, 129, 256, 257, 312, 384, 768, 1000, 2056])
def test_layer_norm(width: int) -> None:
    x, weight, bias = normal(0, 5, width, scale=3) + f32(2), normal(1, width), normal(2, width)
    wide = x.astype(float)
    want = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5) * weight + bias
    got = exact.layer_norm(x, Norm(weight, bias, 1e-5))
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
    assert_same_bits(exact.layer_norm(x[3:4], Norm(weight, bias, 1e-5)), got[3:4])


def test_gelu() -> None:
    x = np.linspace(-20, 20, 40001, dtype=f32)
    want = [0.5 * float(v) * math.erfc(-float(v) / math.sqrt(2)) for v in x]
    np.testing.assert_allclose(exact.gelu(x), want, rtol=0, atol=1e-6)
    special = np.array([np.nan, np.inf, -np.inf, 0, -0.0], f32)
    assert_same_bits(exact.gelu(special), np.array([np.nan, np.inf, np.nan, 0, -0.0], f32))


def test_exponentials() -> None:
    x = np.linspace(-104, 0, 100001, dtype=f32)
    want = np.exp(x.astype(float))
    np.testing.assert_allclose(exact.expf(x), want, rtol=1e-7, atol=2e-45)
    normal_results = x > -86.99
    np.testing.assert_allclose(exact.exp_u20(x[normal_results]), want[normal_results], rtol=2e-6)
    assert exact.expf(np.array([-np.inf, -104.5, -1e30], f32)).tolist() == [0, 0, 0]
    # From -86.99 down the exponent of 2^(n-1) is that of zero: PyTorch's function flushes where e^x is still normal.
    assert exact.exp_u20(np.array([-np.inf, -87.1, -87.33, -88, -1e30], f32)).tolist() == [0] * 5
    assert exact.exp_u20(np.array([-86.9], f32))[0] > 1.8e-38


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.sampled_from([(1, 26), (2, 16), (3, 5), (4, 32)]), st.integers(0, 2**32 - 1))
def test_attention(n: int, heads: tuple[int, int], seed: int) -> None:
    q, k, v = (normal(seed + i, n, *heads) for i in range(3))
    bias = normal(seed + 3, 1, n, n)
    context, probabilities = exact.attention(q, k, v, bias)
    scores = np.einsum("nhd,mhd->hnm", q.astype(float), k.astype(float)) / math.sqrt(heads[1]) + bias
    want = np.exp(scores - scores.max(2, keepdims=True))
    want /= want.sum(2, keepdims=True)
    np.testing.assert_allclose(probabilities, want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(context, np.einsum("hnm,mhd->nhd", want, v.astype(float)), rtol=0, atol=1e-4)


@pytest.mark.parametrize("n", [193, 208, 385])
def test_a_head_does_not_see_the_others(n: int) -> None:
    q, k, v = (normal(i, n, 2, 16) for i in range(3))
    bias = normal(3, 2, n, n)
    context, probabilities = exact.attention(q, k, v, bias)
    alone, alone_probabilities = exact.attention(q[:, 1:], k[:, 1:], v[:, 1:], bias[1:])
    assert_same_bits(alone, context[:, 1:])
    assert_same_bits(alone_probabilities, probabilities[1:])


def test_a_zero_bias_changes_nothing_and_a_masked_row_is_zero() -> None:
    q, k, v = (normal(i, 20, 2, 16) for i in range(3))
    bias = np.zeros((1, 20, 20), f32)
    plain = exact.attention(q, k, v)
    for got, want in zip(exact.attention(q, k, v, bias), plain, strict=True):
        assert_same_bits(got, want)
    bias[0, 7] = -np.inf
    context, probabilities = exact.attention(q, k, v, bias)
    assert not context[7].any()
    assert not probabilities[:, 7].any()
    assert_same_bits(np.delete(context, 7, 0), np.delete(plain[0], 7, 0))


def test_nan_stays_in_its_row() -> None:
    """And nothing warns: pytest turns NumPy's warnings into errors here."""
    x = normal(0, 4, 24)
    x[1, 3], x[2, 5] = np.nan, np.inf
    w = Linear(normal(1, 24, 24), normal(2, 24))
    for y in (exact.linear(x, w), exact.layer_norm(x, Norm(w.bias, w.bias, 1e-12)), exact.gelu(x)):
        assert np.isfinite(y[[0, 3]]).all()
        assert np.isnan(y[1]).any()
        assert not np.isfinite(y[2]).all()
    q = normal(0, 9, 2, 16)
    k, v = normal(1, 9, 2, 16), normal(2, 9, 2, 16)
    q[4, 1, 0] = np.nan
    context, probabilities = exact.attention(q, k, v)
    assert np.isnan(context[4, 1]).all()
    assert np.isnan(probabilities[1, 4]).all()
    assert np.isfinite(np.delete(context, 4, 0)).all()
    assert np.isfinite(context[4, 0]).all()


def test_embed_adds_in_order() -> None:
    """(word + token type) + position: the other order has other bits."""
    tables = EmbeddingWeights(
        np.full((3, 1), 2**24, f32),
        np.full((5, 1), 1, f32),
        np.full((2, 1), 1, f32),
        Norm(np.ones(1), np.zeros(1), 1e-12),
    )
    ids, positions = np.array([2, 0]), np.array([4, 1])
    assert_same_bits(exact.embed(tables, ids, positions, np.array([1, 0]), None), np.full((2, 1), 2**24, f32))
    assert_same_bits(exact.embed(tables, ids, positions, None, None), np.full((2, 1), 2**24, f32))
    given_embeddings = np.array([[3], [5]], f32)
    assert_same_bits(exact.embed(tables, None, positions, None, given_embeddings), given_embeddings + f32(2))
