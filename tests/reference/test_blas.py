"""The quick operations, each against float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minidistil.backends.reference import blas
from minidistil.weights.model_weights import Linear, Norm

f32 = np.float32


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=f32)


def test_erfc_is_as_good_as_its_formula() -> None:
    z = np.linspace(0, 12, 200001, dtype=f32)
    error = np.abs(blas.erfc(z) - np.array([math.erfc(float(v)) for v in z]))
    assert error.max() < 7e-7  # the formula's 1.5e-7, and float32's roundings


def test_gelu() -> None:
    x = np.linspace(-30, 30, 200001, dtype=f32)
    want = [0.5 * float(v) * math.erfc(-float(v) / math.sqrt(2)) for v in x]
    np.testing.assert_allclose(blas.gelu(x), want, rtol=0, atol=6e-7)
    got = blas.gelu(np.array([np.nan, np.inf, -np.inf, 0], f32))
    np.testing.assert_array_equal(got, np.array([np.nan, np.inf, np.nan, 0], f32))


def test_linear() -> None:
    x, w, b = normal(0, 5, 40), normal(1, 7, 40), normal(2, 7)
    np.testing.assert_allclose(blas.linear(x, Linear(w, b)), x.astype(float) @ w.T.astype(float) + b, atol=1e-5)


@pytest.mark.parametrize("width", [1, 7, 312])
def test_layer_norm(width: int) -> None:
    x, weight, bias = normal(0, 5, width) + f32(2), normal(1, width), normal(2, width)
    wide = x.astype(float)
    want = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5) * weight + bias
    before = x.copy()
    np.testing.assert_allclose(blas.layer_norm(x, Norm(weight, bias, 1e-5)), want, rtol=2e-5, atol=2e-5)
    np.testing.assert_array_equal(x, before)


def test_attention() -> None:
    q, k, v = (normal(i, 9, 2, 16) for i in range(3))
    bias = normal(3, 2, 9, 9)
    bias[1, 4] = -np.inf
    before = [x.copy() for x in (q, k, v, bias)]
    context, probabilities = blas.attention(q, k, v, bias)
    scores = np.einsum("nhd,mhd->hnm", q.astype(float), k.astype(float)) / 4 + bias
    scores[1, 4] = 0
    want = np.exp(scores) / np.exp(scores).sum(2, keepdims=True)
    want[1, 4] = 0
    np.testing.assert_allclose(probabilities, want, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(context, np.einsum("hnm,mhd->nhd", want, v.astype(float)), atol=1e-5)
    assert not context[4, 1].any()
    for x, y in zip((q, k, v, bias), before, strict=True):
        np.testing.assert_array_equal(x, y)


def test_large_scores_do_not_overflow_the_softmax() -> None:
    q = k = 1e4 * np.eye(3, 4, dtype=f32)[:, None]
    context, probabilities = blas.attention(q, k, normal(0, 3, 1, 4))
    np.testing.assert_array_equal(probabilities[0], np.eye(3))
    assert np.isfinite(context).all()
