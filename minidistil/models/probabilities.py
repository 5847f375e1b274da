"""Probabilities out of logits, in float32 and in the order of transformers' pipelines: equal scores rank equally."""

from __future__ import annotations

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return exp(x - max) / sum over the last axis: float32 [..., N] to float32 [..., N]."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    total: np.ndarray = shifted / shifted.sum(axis=-1, keepdims=True)
    return total


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)): float32 to float32 of the same shape."""
    with np.errstate(over="ignore"):  # exp of a large number is infinity, and 1 / infinity is right
        scores: np.ndarray = 1.0 / (1.0 + np.exp(-logits))
    return scores
