"""Memory that steps touch, and how a test looks into it."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np

from minidistil.kernels import layout
from minidistil.kernels.steps.table import Matrix


class Touched(NamedTuple):
    """Memory that a step reads or writes: rows of so many bytes, `apart` from one to the next.

    of: where the array begins that it is a part of, if its operand says that.
    """

    address: int
    size: int
    writes: bool
    rows: int = 1
    apart: int = 0
    of: int = 0

    @property
    def start(self) -> int:
        return self.of or self.address

    @property
    def end(self) -> int:
        return self.address + (self.rows - 1) * self.apart + self.size


def matrix(x: Matrix, rows: int, columns: int, writes: bool = False) -> Touched:
    return Touched(x.address, columns * 4, writes, rows, x.ld * 4)


def coded(x: Matrix, rows: int, k: int, kept: int = 0, writes: bool = False) -> Touched:
    return Touched(x.address, layout.CODES + -(-k // 4) * 4 + kept * 4, writes, rows, x.ld * 4)


def int32(address: int, count: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_int32 * count).from_address(address))


def int64(address: int, count: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_int64 * count).from_address(address))
