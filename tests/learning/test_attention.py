"""Attention in training: the reference against its formulas and finite differences, the kernels against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from minidistil.backends.learning import Chance, chance_of
from minidistil.backends.reference import exact
from minidistil.backends.reference.learning.attention import attention_backward, attention_forward
from minidistil.backends.reference.learning.dropout import keep_factors
from tests.bits import assert_same_bits
from tests.kernels.values import normal

SITE, STEP, FIRST_ROW = 24, 5, 11


def chance(probability: float) -> Chance | None:
    return chance_of(probability, 7 << 32 | 3, SITE, STEP, FIRST_ROW)


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 40, 193])
def test_without_dropout_the_forward_pass_is_that_of_inference(n: int) -> None:
    q, k, v = (normal(i, n, 2, 12) for i in (1, 2, 3))
    context, probabilities = exact.attention(q, k, v)
    got, statistics = attention_forward(q, k, v)
    assert_same_bits(got, context)
    assert np.allclose(statistics[1], probabilities.max(2), atol=0, rtol=1e-6)  # e^0 times the reciprocal


@pytest.mark.parametrize("probability", [0.0, 0.3])
@pytest.mark.parametrize("n", [1, 3, 18])
def test_gradients_are_finite_differences(n: int, probability: float) -> None:
    """Of sum(context * dcontext) in float64 with the same mask, by central differences."""
    heads, d = 2, 5
    arrays = [normal(i, n, heads, d) for i in (1, 2, 3)]
    dcontext = normal(4, n, heads, d)
    mask = [chance(probability) and chance(probability)._replace(site=SITE + (h << 16)) for h in range(heads)]
    keep = np.stack([keep_factors(one, n, n) for one in mask]).astype(np.float64)

    def loss(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> float:
        s = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(d)
        p = np.exp(s - s.max(2, keepdims=True))
        p = p / p.sum(2, keepdims=True) * keep
        return float((np.einsum("hij,jhd->ihd", p, v) * dcontext).sum())

    context, statistics = attention_forward(*arrays, chance(probability))
    gradients = attention_backward(*arrays, context, dcontext, statistics, chance(probability))
    wide, step = [x.astype(np.float64) for x in arrays], 1e-5
    for which, gradient in enumerate(gradients):
        want = np.empty_like(wide[which])
        for at in np.ndindex(want.shape):
            ends = []
            for sign in (1, -1):
                moved = [x.copy() for x in wide]
                moved[which][at] += sign * step
                ends.append(loss(*moved))
            want[at] = (ends[0] - ends[1]) / (2 * step)
        assert np.allclose(gradient, want, rtol=1e-4, atol=3e-6)
        if n > 1:
            assert np.abs(gradient).max() > 0.1
