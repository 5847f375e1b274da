"""What holds for every test, holds: none finds the same bits twice in a BLAS, none leaves a process or a thread."""

from __future__ import annotations

import numpy as np

from minidistil.reference import blas
from minidistil.weights.model_weights import Linear

RNG = np.random.default_rng(3)


def test_no_product_of_blas_comes_twice() -> None:
    x, w, b = (RNG.standard_normal(shape).astype(np.float32) for shape in ((7, 128), (30, 128), 30))
    x[3] = x[2]  # equal rows of one call are as good as any two
    first, second = (blas.linear(x, Linear(w, b)) for _ in range(2))
    for one, other in ((first, second), (first[2], first[3])):
        assert (one != other).mean() > 0.5
    exact = x.astype(np.float64) @ w.T.astype(np.float64) + b
    assert 0 < np.abs(first - exact).max() < 2e-5
    q, k, v = (RNG.standard_normal((5, 2, 16)).astype(np.float32) for _ in range(3))
    for one, other in zip(blas.attention(q, k, v), blas.attention(q, k, v), strict=True):
        assert (one != other).mean() > 0.5
    assert not blas.product(np.zeros((2, 4), np.float32), np.ones((3, 4), np.float32)).any()
