"""The distance of the hidden states' directions from the teacher's, and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class Cosine(NamedTuple):
    """out += weight d(1 - cos(x, teacher)) / dx, row by row; cosines = cos of each row.

    x, teacher, out: float32 [rows, n]. weight: address of float32 [1]. cosines: address of float32 [rows].
    """

    x: Matrix
    teacher: Matrix
    out: Matrix
    rows: Number
    n: int
    weight: Number
    cosines: Number


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part

    @part
    def todo(o, member):
        pass

    return todo
