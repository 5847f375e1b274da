"""LayerNorm that keeps what its backward pass needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class LayerNorm(NamedTuple):
    """out = (x - mean) rstd gain + shift, with the bits of SumRows' LAYER_NORM; moments = mean and rstd of each row.

    x, out: float32 [rows, n]. moments: address of float32 [rows, 2]. gain, shift: float32 [n].
    """

    x: Matrix
    out: Matrix
    moments: Number
    rows: Number
    n: int
    gain: int
    shift: int
    eps: float


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.simd.layer_norm import normalize_row
    from minidistil.kernels.simd.memory import set_f32
    from minidistil.kernels.steps.share import next_rows

    most_rows = 4

    @part
    def layer_norm(o, member):
        while True:
            first, end = next_rows(member, o.rows, most_rows)
            if first >= end:
                break
            for i in range(first, end):
                x, out = o.x.address + i * o.x.ld * 4, o.out.address + i * o.out.ld * 4
                mean, rstd = normalize_row(x, out, o.n, o.gain, o.shift, o.eps, member.scratch)
                set_f32(o.moments, 2 * i, mean)
                set_f32(o.moments, 2 * i + 1, rstd)

    return layer_norm
