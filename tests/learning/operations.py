"""Single operations of training, taken by one thread or by several, in scratch memory that is watched."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np

from minidistil.kernels import layout
from minidistil.kernels.code import native
from minidistil.kernels.steps.table import Matrix, Run, written

_GUARD = np.float32(3e33)


def take_together(*operands: NamedTuple, scratch_floats: int = layout.GRADIENT_SCRATCH, threads: int = 1) -> None:
    """Take steps one after another with so many threads; fail where one writes beyond its scratch memory."""
    scratch = np.full((threads, scratch_floats + 16), _GUARD, np.float32)
    numbers = [*Run(len(operands), layout.address(scratch), scratch.shape[1], 0)]
    for step in operands:
        numbers += written(step, True, "train")
    call = np.array(numbers + [0] * (layout.COUNTERS + len(operands)), np.int64)
    entry, address = native.entry("train"), layout.address(call)
    others = [threading.Thread(target=entry, args=(address, i, threads)) for i in range(1, threads)]
    for thread in others:
        thread.start()
    entry(address, 0, threads)
    for thread in others:
        thread.join()
    assert (scratch[:, scratch_floats:] == _GUARD).all(), "a step wrote beyond its scratch memory"


class Guarded(NamedTuple):
    """float32 [rows, n] within a larger array, whose other elements nobody may write."""

    whole: np.ndarray
    array: np.ndarray

    @property
    def matrix(self) -> Matrix:
        return Matrix(layout.address(self.array), self.whole.shape[1])

    def check(self) -> np.ndarray:
        """The array; fail where an element beside it was written, or one in it was not."""
        beside = np.ones(self.whole.shape, bool)
        beside[1 : 1 + len(self.array), 3 : 3 + self.array.shape[1]] = False
        assert (self.whole[beside] == _GUARD).all(), "a step wrote beside its array"
        assert not (self.array == _GUARD).any(), "a step left elements as they were"
        return np.ascontiguousarray(self.array)


def guarded(rows: int, columns: int, values: np.ndarray | None = None, spare: int = 8) -> Guarded:
    """An array of such a shape, with these values or with guard values; its rows are `spare` elements further apart."""
    whole = np.full((rows + 2, columns + spare), _GUARD, np.float32)
    array = whole[1 : 1 + rows, 3 : 3 + columns]
    if values is not None:
        array[...] = values
    return Guarded(whole, array)


def guarded_vector(values: np.ndarray) -> Guarded:
    """A contiguous array, as one row."""
    return guarded(1, values.size, values.reshape(1, -1))
