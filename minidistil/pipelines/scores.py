"""The scores of a text's windows as one, and the options that ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minidistil._options import check_number, is_one_of

_POOLINGS = ("mean", "max")


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
    pooling = options.get("pool_windows")
    if not is_one_of(pooling, (None, *_POOLINGS)):
        raise ValueError(f'pool_windows must be "mean", "max" or None, got {pooling!r}')
    return pooling, check_number("stride", options.get("stride"), 0) or 0
