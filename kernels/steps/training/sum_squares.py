"""Sums of squares, of which the norm of all gradients is made."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minidistil.kernels.steps.table import Number

CHUNK = 4096
"""Floats that make one sum: so few that float32 is enough, so many that Python adds up the rest."""


class SumSquares(NamedTuple):
    """out[i] = the sum of squares of x's elements i CHUNK to (i + 1) CHUNK.

    x: address of float32 [n]. out: address of float32 [chunks(n)].
    """

    x: int
    n: int
    out: Number


def chunks(n: int) -> int:
    """How many sums there are of n elements."""
    return -(-n // CHUNK)


def norm(sums: np.ndarray) -> float:
    """Length of the vector whose sums these are (float32 [chunks]), added one after another in float64."""
    total = 0.0
    for value in sums.tolist():  # Python's `sum` of floats follows its version
        total += value
    return math.sqrt(total)


def code() -> Callable:
    """What a thread does in such a step: chunk after chunk."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.simd.memory import set_f32
    from minidistil.kernels.simd.optimizer import sum_of_squares
    from minidistil.kernels.steps.team import next_task

    @part
    def sum_squares(o, member):
        while True:
            i = next_task(member)
            if i * CHUNK >= o.n:
                break
            set_f32(o.out, i, sum_of_squares(o.x + i * CHUNK * 4, min(CHUNK, o.n - i * CHUNK)))

    return sum_squares
