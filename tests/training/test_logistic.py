"""Logistic regression: it is the minimum, whoever adds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minidistil.training.elementary import exp, log
from minidistil.training.logistic import Features, fit, score
from tests import processes

RNG = np.random.default_rng(3)


def _data(n: int, D: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of different scales, one constant, one too small to count, and labels that follow some."""
    x = RNG.standard_normal((n, D)) * np.logspace(-3, 3, D)
    y = np.argmax(x[:, :labels] / np.logspace(-3, 3, D)[:labels] + RNG.standard_normal((n, labels)), axis=1)
    x[:, -1], x[:, -2] = 7.3, RNG.standard_normal(n) * 1e-33
    return x.astype(np.float32), y


def _gradient(x: np.ndarray, y: np.ndarray, w: np.ndarray, decay: float) -> np.ndarray:
    """Of the objective, float64 [D + 1, N], by NumPy's own functions, over columns of deviation 1."""
    wide = x[:, :-2].astype(np.float64)  # those that count
    z = np.concatenate([(wide - wide.mean(0)) / wide.std(0), np.zeros((len(x), 2)), np.ones((len(x), 1))], axis=1)
    logits = z @ w
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    gradient = z.T @ p / len(y)
    gradient[:-1] += decay * w[:-1]
    return gradient


@pytest.mark.parametrize("labels", [2, 3, 7])
@pytest.mark.parametrize("decay", [1.0, 0.01])
def test_the_gradient_vanishes_where_it_ends(labels: int, decay: float) -> None:
    x, y = _data(300, 12, labels)
    w = fit(Features(x), y, labels, decay, np.ones((1, 300), bool))[0]
    assert np.abs(_gradient(x, y, np.zeros_like(w), decay)).max() > 1e-2
    assert np.abs(_gradient(x, y, w, decay)).max() < 5e-6
    assert np.abs(w[-3:-1]).max() == 0  # of what does not change


def test_a_problem_does_not_depend_on_those_beside_it() -> None:
    x, y = _data(200, 9, 3)
    features = Features(x)
    member = RNG.random((4, 200)) < 0.7
    together = fit(features, y, 3, 0.1, member)
    for i in range(4):
        alone = fit(features, y, 3, 0.1, member[i : i + 1])
        assert together[i].tobytes() == alone[0].tobytes()
    # and not on texts that it does not learn from
    own = y.copy()
    own[~member[1]] = 2 - own[~member[1]]
    assert fit(features, own, 3, 0.1, member[1:2])[0].tobytes() == together[1].tobytes()


def test_scores_are_of_the_texts_that_are_asked_for() -> None:
    x, y = _data(100, 6, 2)
    features = Features(x)
    w = fit(features, y, 2, 0.1, np.ones((1, 100), bool))
    member = np.zeros((1, 100), bool)
    member[0, 10:40] = True
    found = score(features, y, w, member)
    (_, block), *_ = features.blocks()
    logits = features.logits(block, w)[10:40, 0]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert found.accuracy[0] == np.mean(logits.argmax(axis=1) == y[10:40])
    assert found.loss[0] == pytest.approx(-np.mean(np.log(p[np.arange(30), y[10:40]])), rel=1e-12)


_PROGRAM = """
import hashlib, numpy as np
from minidistil.training.logistic import Features, fit
rng = np.random.default_rng(0)
x = rng.standard_normal((5000, 40)).astype(np.float32)
y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int)
member = np.arange(5000) % 3 != np.arange(3)[:, None]
print(hashlib.sha256(fit(Features(x), y, 2, 0.01, member).tobytes()).hexdigest())
"""


def test_the_bits_are_those_of_every_blas() -> None:
    machines = [
        {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1", "NPY_DISABLE_CPU_FEATURES": "AVX2 AVX512F"},
        {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "2"},
        {},
    ]
    found = {processes.python(_PROGRAM, env=machine).strip() for machine in machines}
    assert len(found) == 1


def test_elementary_functions_are_exact_to_a_few_ulps() -> None:
    x = np.concatenate([np.linspace(-700, 700, 20011), [0.0, -1e-300]])
    assert max(abs(a / math.exp(b) - 1) for a, b in zip(exp(x).tolist(), x.tolist(), strict=True)) < 5e-16
    y = np.concatenate([np.logspace(-300, 300, 20011), 1 + np.linspace(-1e-3, 1e-3, 1001)])
    wrong = [
        abs(a - math.log(b)) / max(abs(math.log(b)), 1e-3) for a, b in zip(log(y).tolist(), y.tolist(), strict=True)
    ]
    assert max(wrong) < 5e-16
    assert np.isnan(exp(np.array([np.nan]))).all()
    assert exp(np.array([-1e9]))[0] == exp(np.array([-700.0]))[0] > 0
