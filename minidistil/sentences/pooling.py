"""Token rows to one row per sentence, and rows to length 1, in orders of summing that the sentence alone fixes.

Pooling adds the rows of the tokens one after another, first to last, in float32; a length is the root of NumPy's
pairwise sum over the D squares of one row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minidistil._float_mode import default_mode

POOLING_MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


@default_mode()
def pool(hidden: np.ndarray, offsets: np.ndarray, modes: Sequence[str], skip: int = 0) -> np.ndarray:
    """Make one row of each sentence's token rows.

    Args:
        hidden: float32 [T, D].
        offsets: int64 [B + 1].
        modes: of `POOLING_MODES`; what several make stands side by side.
        skip: tokens at the start of each sentence to leave out (a prompt).

    Returns:
        float32 [B, D * len(modes)].

    Raises:
        ValueError: a sentence has no tokens beyond `skip`.
    """
    check_skip(offsets, skip)
    pooled = np.empty((len(offsets) - 1, len(modes) * hidden.shape[1]), np.float32)
    for row, start, end in zip(pooled, offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        np.concatenate([_pool_one(hidden[start + skip : end], mode, skip) for mode in modes], out=row)
    return pooled


def single_rows(offsets: np.ndarray, modes: Sequence[str], skip: int = 0) -> np.ndarray | None:
    """Rows that are all that `modes` read: int64 [B * len(modes)], sentence by sentence; None where they read more."""
    if not set(modes) <= {"cls", "lasttoken"}:
        return None
    check_skip(offsets, skip)
    return np.stack([offsets[:-1] + skip if mode == "cls" else offsets[1:] - 1 for mode in modes], axis=1).reshape(-1)


def check_skip(offsets: np.ndarray, skip: int) -> None:
    """Refuse sentences of which a prompt of `skip` tokens leaves nothing (ValueError)."""
    shortest = int(np.diff(offsets).min(initial=skip + 1))
    if shortest <= skip:
        raise ValueError(f"the prompt takes all {shortest} tokens of a sentence and nothing is left to pool")


@default_mode()
def normalize(x: np.ndarray) -> np.ndarray:
    """Scale float32 [B, D] rows to length 1; a row shorter than 1e-12 is divided by that."""
    lengths = np.sqrt(np.add.reduce(x * x, axis=1))
    return x / np.maximum(lengths, np.float32(1e-12))[:, None]


def _pool_one(x: np.ndarray, mode: str, skip: int) -> np.ndarray:
    """One sentence's rows float32 [n, D] to [D]."""
    n = np.float32(len(x))
    if mode == "mean":
        return _sum_rows(x) / n
    if mode == "cls":
        return x[0]
    if mode == "max":
        return x.max(axis=0)
    if mode == "mean_sqrt_len_tokens":
        return _sum_rows(x) / np.sqrt(n)
    if mode == "weightedmean":
        weights = np.arange(skip + 1, skip + 1 + len(x), dtype=np.float32)  # the position from 1, prompt included
        return _sum_rows(x * weights[:, None]) / _sum_rows(weights[:, None])
    assert mode == "lasttoken"
    return x[-1]


def _sum_rows(x: np.ndarray) -> np.ndarray:
    """The rows of [n, D] added one after another, first to last; tested bit for bit against a loop."""
    total = np.add.reduce(x, axis=0) if x.shape[1] > 1 else np.cumsum(x, axis=0)[-1]  # one column is summed pairwise
    return np.asarray(total, np.float32)
