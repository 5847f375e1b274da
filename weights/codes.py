"""Rows of float32 as whole numbers: which step a row is counted in, and which number each of its own becomes.

A row's step is the greatest magnitude in it over 127, or a coarser one where its pairs are to be limited
(kernels/layout.PAIR): then two large neighbours of one sign have to give way, and all of the row's errors together are
smaller when everything is counted more coarsely. The candidates are a table, and the one with the least squared error
is taken. Finer steps, which clip, are no candidates: in 8 bits they lose.

The same bytes on every CPU and with every NumPy: what is not done element by element is a maximum, or a sum of whole
numbers below 2^24 in float32 or 2^53 in float64, which is exact in any order.
"""

from __future__ import annotations

import numpy as np

from minidistil.weights._storage import empty_apart, release_pages

GREATEST = 127
"""The greatest code; the least is its negative."""

PAIR = 128
"""What two codes of one sign add up to at most, where pairs are limited: the kernels' own number (layout.PAIR)."""

f32 = np.float32
_AT_A_TIME = 1 << 16  # numbers, in the second-level cache
_SMALLEST = f32(2.0**-126)  # of a step that is not denormal
_COARSER = tuple(f32(1 + i / 16) for i in range(17))  # times the finest step; at the last one all pairs are limited
_PARTS = f32(128)  # of a step, in which errors are counted: their squares are whole numbers of at most 2^12
_EXACT = 1 << 12  # so many squares of errors add up to less than 2^24
_EXCESS = f32(8)  # parts of a step in which is counted what a pair is too large by


def coded(w: np.ndarray, factor: np.ndarray | None = None, *, limit_pairs: bool) -> tuple[np.ndarray, np.ndarray]:
    """Code each row by itself.

    Args:
        w: float32 [N, K], finite.
        factor: float32 [K] that columns are multiplied by before, or None.
        limit_pairs: whether of each two codes at k and k + 1, k even, those of one sign shall add up to PAIR at most.

    Returns:
        Codes int8 [N, K] of -127 to 127, and steps float32 [N]: w, times the factor, is nearly codes * steps.

    Raises:
        ValueError: numbers that are not finite.
    """
    n, k = w.shape
    codes, steps = empty_apart((n, k), np.int8), np.ones(n, np.float32)
    count = max(1, _AT_A_TIME // max(k, 1))
    for first in range(0, n, count):
        rows = slice(first, first + count)
        some = np.ascontiguousarray(w[rows], np.float32)
        if factor is not None:
            some = some * factor
        steps[rows] = _finest(some)
        if limit_pairs:
            _coarsen(some, steps[rows])
        _code(some, steps[rows], limit_pairs, codes[rows])
        release_pages(w[rows])
    return codes, steps


def _finest(w: np.ndarray) -> np.ndarray:
    """The step with which a row's greatest magnitude is 127: float32 [n, K] -> [n]; 1 for zeros."""
    most = np.maximum(w.max(axis=1, initial=0), -w.min(axis=1, initial=0))
    if not np.isfinite(most).all():
        raise ValueError("weights that are not finite have no whole numbers")
    return np.where(most > 0, np.maximum(most / f32(GREATEST), _SMALLEST), f32(1))


def _coarsen(w: np.ndarray, steps: np.ndarray) -> None:
    """Make steps float32 [n] of rows float32 [n, K] coarser where their pairs, limited, have less of an error then."""
    counted = w / steps[:, None]
    sums = np.abs(counted[:, 0 : w.shape[1] // 2 * 2 : 2] + counted[:, 1::2])
    row, pair = np.nonzero(sums > PAIR)
    if not len(row):
        return
    large = sums[row, pair]
    n = len(w)
    excess = np.stack([_excess(row, large, coarser, n) for coarser in _COARSER])  # [candidates, n]
    # Rounding costs a twelfth of a step's square a number, or nearly: whom that leaves to choose from is looked at.
    expected = (w.shape[1] / 12 + excess) * np.square(_COARSER, dtype=np.float64)[:, None]
    near = expected.argmin(axis=0)
    some = np.nonzero(np.bincount(row, minlength=n))[0]
    best = np.full(n, np.inf)
    chosen = np.zeros(n, np.intp)
    for candidate in (np.zeros_like(near), near - 1, near, near + 1):
        candidate = np.clip(candidate, 0, len(_COARSER) - 1)[some]
        coarser = np.array(_COARSER, np.float32)[candidate]
        error = _rounding(counted[some], coarser) + excess[candidate, some]
        error *= np.square(coarser, dtype=np.float64)
        better = error < best[some]
        best[some[better]], chosen[some[better]] = error[better], candidate[better]
    steps *= np.array(_COARSER, np.float32)[chosen]


def _excess(row: np.ndarray, large: np.ndarray, coarser: np.float32, n: int) -> np.ndarray:
    """Squared error, in steps, that limiting pairs adds to n rows: float64 [n] of sums of pairs in finest steps.

    Of what a pair is too large by, each of the two gives up a half.
    """
    over = np.rint(np.maximum(large / coarser - f32(PAIR), f32(0)) * _EXCESS)
    return np.bincount(row, np.square(over, dtype=np.float64), minlength=n) / (2 * float(_EXCESS) ** 2)


def _rounding(counted: np.ndarray, coarser: np.ndarray) -> np.ndarray:
    """Squared error, in steps, of rounding rows float32 [n, K], counted in finest steps, to coarser: float64 [n]."""
    error = counted / coarser[:, None]
    error -= np.rint(error)
    error *= _PARTS
    np.rint(error, out=error)
    total = np.zeros(len(error))
    for first in range(0, error.shape[1], _EXACT):
        part = error[:, first : first + _EXACT]
        total += np.einsum("nk,nk->n", part, part)
    return total / float(_PARTS) ** 2


def _code(w: np.ndarray, steps: np.ndarray, limit_pairs: bool, out: np.ndarray) -> None:
    """Write the whole numbers nearest to rows float32 [n, K] over their steps, limited ones where that is asked for."""
    counted = w / steps[:, None]
    codes = np.clip(np.rint(counted), -GREATEST, GREATEST)
    if limit_pairs:
        even, odd = codes[:, 0 : w.shape[1] // 2 * 2 : 2], codes[:, 1::2]
        over = np.abs(even + odd) > PAIR  # only where both have one sign
        first, second = counted[:, 0 : w.shape[1] // 2 * 2 : 2][over], counted[:, 1::2][over]
        sign = np.sign(first + second)
        # Of all whole numbers that add up to PAIR, those nearest to the two.
        limited = np.clip(np.rint((np.abs(first) - np.abs(second) + f32(PAIR)) / 2), PAIR - GREATEST, GREATEST)
        even[over], odd[over] = sign * limited, sign * (f32(PAIR) - limited)
    out[:] = codes
