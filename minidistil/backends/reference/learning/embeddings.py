"""Gradients of embedding tables."""

from __future__ import annotations

import numpy as np


@np.errstate(all="ignore")  # infinities and NaN go through
def scatter_rows(gradient: np.ndarray, ids: np.ndarray, x: np.ndarray) -> None:
    """gradient[ids[t]] += x[t], one token after another: float32 [V, D], int [T], float32 [T, D]; in place."""
    for row, values in zip(ids, x, strict=True):
        gradient[row] += values
