"""Weights in fewer bits than float32: what they are, and the numbers that they stand for.

bfloat16 is the upper half of a float32. int8 is a whole number and a scale, which all of a row of a matrix share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_COLUMNS = 65_000
"""K of a product in int8 at most: 65,000 * 255 * 128 is below 2^31, where its sums are."""

_AT_A_TIME = 1 << 14  # numbers that are rounded together, in the cache
_INFINITY = 0x7F800000  # bits of float32
_EXPONENT = np.uint16(0x7F80)  # of bfloat16, all ones where it is no number


@dataclass(frozen=True)
class BFloat16Linear:
    """y = x weight^T + bias, computed in float32; bits uint16 [N, K] of the weight, bias float32 [N]."""

    bits: np.ndarray
    bias: np.ndarray

    @property
    def weight(self) -> np.ndarray:
        """float32 [N, K], made anew each time."""
        return widened(self.bits)


@dataclass(frozen=True)
class Int8Linear:
    """y = x W^T + bias with whole numbers in the place of W and of x; the arithmetic is reference/int8.py's.

    A few columns may be kept out of the whole numbers: those of x that are many times as large as all others.

    Attributes:
        codes: int8 [N, K]; row n of W is codes[n] * scale[n].
        scale: float32 [N], finite and above zero.
        bias: float32 [N].
        smooth: float32 [K], finite and above zero, which x is multiplied by before it is rounded to whole numbers (W is
            that of the product, so divided by it); or None. Zero in the C columns that are kept, and nowhere else.
        kept: float32 [N, C], W's own numbers in those columns, finite; None where there are none.
    """

    codes: np.ndarray
    scale: np.ndarray
    bias: np.ndarray
    smooth: np.ndarray | None = None
    kept: np.ndarray | None = None

    @property
    def columns(self) -> np.ndarray:
        """Numbers of the columns that are kept, in increasing order: int32 [C]."""
        return kept_columns(self.smooth)

    @property
    def weight(self) -> np.ndarray:
        """float32 [N, K], what x itself is multiplied by, nearly; made anew each time."""
        weight = np.multiply(self.codes, self.scale[:, None], dtype=np.float32)
        if self.smooth is not None:
            weight *= self.smooth
        if self.kept is not None:
            weight[:, self.columns] = self.kept
        return weight


@dataclass(frozen=True)
class NarrowTable:
    """Rows of a table of embeddings, which become float32 when they are read.

    Attributes:
        codes: uint16 [V, E], bits of bfloat16; or int8 [V, E].
        scale: float32 [V], of each row of int8; None for bfloat16.
    """

    codes: np.ndarray
    scale: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """V and E."""
        return self.codes.shape

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(self.codes.size)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """float32 [..., E] of rows of any shape; one rounding where there is a scale."""
        if self.scale is None:
            return widened(self.codes[rows])
        return np.multiply(self.codes[rows], self.scale[rows][..., None], dtype=np.float32)


def kept_columns(smooth: np.ndarray | None) -> np.ndarray:
    """Numbers of the columns that a product keeps in float32, in increasing order: int32 [C]."""
    return np.flatnonzero(() if smooth is None else smooth == 0).astype(np.int32)


def rounded(x: np.ndarray) -> np.ndarray:
    """Bits uint16 of the bfloat16 nearest to each float32, of two the even one; NaN stays NaN."""
    numbers = np.ascontiguousarray(x, np.float32).view(np.uint32)
    out = np.empty(numbers.shape, np.uint16)
    flat, flat_out = numbers.reshape(-1), out.reshape(-1)
    scratch = np.empty(min(flat.size, _AT_A_TIME), np.uint32)
    for first in range(0, flat.size, _AT_A_TIME):
        bits, some = flat[first : first + _AT_A_TIME], flat_out[first : first + _AT_A_TIME]
        t = scratch[: bits.size]
        np.right_shift(bits, 16, out=t)
        np.bitwise_and(t, 1, out=t)
        np.add(t, 0x7FFF, out=t)
        np.add(t, bits, out=t)  # only NaN overflow
        np.right_shift(t, 16, out=some, casting="unsafe")
        np.bitwise_and(bits, 0x7FFFFFFF, out=t)
        if t.max() > _INFINITY:
            nan = t > _INFINITY
            some[nan] = (bits[nan] >> 16) | 0x40
    return out


def count_nonfinite_bits(bits: np.ndarray) -> int:
    """How many of the numbers that bits uint16 of bfloat16 stand for are NaN or infinite."""
    flat, count = bits.reshape(-1), 0
    for start in range(0, flat.size, _AT_A_TIME):
        exponents = flat[start : start + _AT_A_TIME] & _EXPONENT
        count += int(np.count_nonzero(exponents == _EXPONENT))
    return count


def widened(bits: np.ndarray) -> np.ndarray:
    """float32 of bits uint16 of bfloat16, any shape."""
    return np.left_shift(bits, 16, dtype=np.uint32).view(np.float32)
