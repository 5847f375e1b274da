"""Dropout in nothing but NumPy: masks that follow from counters, so that none is ever stored.

Philox4x32-10: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.
"""

from __future__ import annotations

import numpy as np

from minidistil.backends.learning import Chance

f32 = np.float32
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57  # of counter words 0 and 2
_WEYL = 0x9E3779B9, 0xBB67AE85  # what the key's words grow by in a round
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)


def philox4x32_10(counters: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Four random words for each counter: uint32 [..., 4] -> [..., 4]; the key is two numbers below 2^32."""
    c0, c1, c2, c3 = np.moveaxis(counters.astype(np.uint64), -1, 0)
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0, product2 = c0 * np.uint64(_MULTIPLIERS[0]), c2 * np.uint64(_MULTIPLIERS[1])
        c0, c2 = (product2 >> np.uint64(32)) ^ c1 ^ np.uint64(k0), (product0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1)
        c1, c3 = product2 & _LOW, product0 & _LOW
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def keep_factors(chance: Chance | None, rows: int, columns: int) -> np.ndarray:
    """What the elements of a matrix are multiplied by: float32 [rows, columns], 0 where one is dropped.

    A counter serves four columns, 16 apart: element (i, j) takes word j % 64 // 16 of the counter
    (j // 64 * 16 + j % 16, first_row + i, site, step).
    """
    if chance is None:
        return np.ones((rows, columns), f32)
    row, column = np.indices((rows, columns), np.uint32)
    counters = np.empty((rows, columns, 4), np.uint32)
    counters[..., 0] = column // 64 * 16 + column % 16
    counters[..., 1] = row + np.uint32(chance.first_row & 0xFFFFFFFF)
    counters[..., 2], counters[..., 3] = chance.site, chance.step
    words = np.take_along_axis(philox4x32_10(counters, chance.key), (column % 64 // 16)[..., None].astype(int), -1)
    return np.where(words[..., 0] < chance.threshold, f32(0), f32(chance.factor))


@np.errstate(all="ignore")  # a dropped infinity becomes NaN, as in PyTorch
def drop(x: np.ndarray, chance: Chance | None) -> np.ndarray:
    """Dropout of float32 [rows, columns], and of a gradient on its way back."""
    return x if chance is None else x * keep_factors(chance, *x.shape)
