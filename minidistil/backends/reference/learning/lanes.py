"""Sums in sixteen lanes, the order in which the backward pass sums along a row."""

from __future__ import annotations

import numpy as np

from minidistil.backends.reference.elementary import fma

f32 = np.float32
LANES = 16


def lane_sum(x: np.ndarray) -> np.ndarray:
    """Row sums: element j goes into lane j mod 16, vector after vector, from zero: float32 [M, n] -> [M]."""
    lanes = np.zeros((len(x), LANES), f32)
    for part in _vectors(x):
        lanes = lanes + part
    return _fold(lanes)


def lane_dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Row sums of x y, each term fused with its addition, in the same lanes: float32 [M, n] twice -> [M]."""
    lanes = np.zeros((len(x), LANES), f32)
    for a, b in zip(_vectors(x), _vectors(y), strict=True):
        lanes = fma(a, b, lanes)
    return _fold(lanes)


def _vectors(x: np.ndarray) -> np.ndarray:
    """float32 [M, n] -> [ceil(n / 16), M, 16], zeros beyond the end of a row."""
    m, n = x.shape
    padded = np.zeros((m, -(-n // LANES) * LANES), f32)
    padded[:, :n] = x
    return padded.reshape(m, padded.shape[1] // LANES, LANES).transpose(1, 0, 2)


def _fold(lanes: np.ndarray) -> np.ndarray:
    """8 + 8, 4 + 4, 2 + 2, 1 + 1: float32 [M, 16] -> [M]."""
    for half in (8, 4, 2, 1):
        lanes = lanes[:, :half] + lanes[:, half:]
    return lanes[:, 0]
