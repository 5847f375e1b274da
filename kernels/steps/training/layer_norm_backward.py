"""The backward pass of LayerNorm: the gradient of its input."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class LayerNormBackward(NamedTuple):
    """out = (g - mean(g) - x^ mean(g x^)) rstd, where g = (dy + more) gain and x^ = (x - mean) rstd.

    dy, more, x, out: float32 [rows, n]; `more` has the address 0 where there is no second gradient; out may be dy.
    moments: address of float32 [rows, 2], of layer_norm.py. gain: float32 [n].
    """

    dy: Matrix
    more: Matrix
    x: Matrix
    out: Matrix
    moments: Number
    rows: Number
    n: int
    gain: int


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.simd.layer_norm import normalize_row_backward
    from minidistil.kernels.simd.memory import get_f32
    from minidistil.kernels.steps.share import next_rows

    most_rows = 4

    @part
    def layer_norm_backward(o, member):
        while True:
            first, end = next_rows(member, o.rows, most_rows)
            if first >= end:
                break
            for i in range(first, end):
                dy, x = o.dy.address + i * o.dy.ld * 4, o.x.address + i * o.x.ld * 4
                out = o.out.address + i * o.out.ld * 4
                more = o.more.address + i * o.more.ld * 4 if o.more.address != 0 else 0
                mean, rstd = get_f32(o.moments, 2 * i), get_f32(o.moments, 2 * i + 1)
                normalize_row_backward(dy, more, x, out, o.n, mean, rstd, o.gain)

    return layer_norm_backward
