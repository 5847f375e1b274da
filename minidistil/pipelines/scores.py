"""Probabilities out of logits, in float32 and in the order of transformers' pipelines: equal scores rank equally."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_POOLINGS = ("mean", "max")


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


def pooled(scores: Sequence[np.ndarray], pooling: str | None) -> np.ndarray:
    """Return one score float32 [N] per label from those of one or more windows: their mean or their maximum."""
    if len(scores) == 1:
        return scores[0]
    whole = np.stack(scores)
    result: np.ndarray = whole.max(axis=0) if pooling == "max" else whole.mean(axis=0)
    return result


def pooling_options(options: Mapping[str, Any]) -> tuple[str | None, int]:
    """Read `pool_windows` ("mean", "max" or None) and `stride` (0 where unset) out of a task's options.

    Raises:
        ValueError: another value.
    """
    pooling, stride = options.get("pool_windows"), options.get("stride") or 0
    if pooling not in (None, *_POOLINGS):
        raise ValueError(f'pool_windows must be "mean", "max" or None, got {pooling!r}')
    if stride < 0:
        raise ValueError(f"stride must not be negative, got {stride}")
    return pooling, stride
