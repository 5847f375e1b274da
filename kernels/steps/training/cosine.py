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
    """What a thread does in such a step: whole rows."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.simd.losses import add_cosine
    from minidistil.kernels.simd.memory import get_f32, set_f32
    from minidistil.kernels.steps.team import next_task

    @part
    def cosine(o, member):
        while True:
            i = next_task(member)
            if i >= o.rows:
                break
            x, teacher = o.x.address + i * o.x.ld * 4, o.teacher.address + i * o.teacher.ld * 4
            out = o.out.address + i * o.out.ld * 4
            set_f32(o.cosines, i, add_cosine(x, teacher, get_f32(o.weight, 0), out, o.n))

    return cosine
