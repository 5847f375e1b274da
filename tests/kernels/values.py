"""Arrays that kernels are tried on."""

from __future__ import annotations

import numpy as np


def normal(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    """float32 normal values from a seeded generator."""
    return np.float32(scale) * np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32)


def awkward(seed: int, *shape: int) -> np.ndarray:
    """Values of every magnitude and sign, zeros, subnormals; finite."""
    rng = np.random.default_rng([seed, *shape])
    x = rng.standard_normal(shape, dtype=np.float32) * np.float32(10) ** rng.integers(-42, 5, shape).astype(np.float32)
    x[rng.random(shape) < 0.05] = 0
    return np.where(rng.random(shape) < 0.05, -np.float32(0), x)


def with_non_finite(x: np.ndarray, seed: int) -> np.ndarray:
    """A copy with NaN and infinities in about one place of twenty."""
    rng = np.random.default_rng(seed)
    x = x.copy()
    for value in (np.nan, np.inf, -np.inf):
        x[rng.random(x.shape) < 0.02] = value
    return x
