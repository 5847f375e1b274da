"""The gradients of LayerNorm's weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class NormGradient(NamedTuple):
    """gain += sum over rows of (dy + more) x^; shift += sum of (dy + more), in the order of column_sums.py.

    dy, more, x: float32 [rows, n], as layer_norm_backward.py has them. gain, shift: addresses of float32 [n].
    """

    dy: Matrix
    more: Matrix
    x: Matrix
    moments: Number
    rows: Number
    n: int
    gain: int
    shift: int


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.products.gemm import chain_length
    from minidistil.kernels.simd.columns import GROUP, add_norm_columns
    from minidistil.kernels.steps.team import next_task

    @part
    def norm_gradient(o, member):
        while True:
            j = next_task(member) * GROUP
            if j >= o.n:
                break
            more = o.more.address + j * 4 if o.more.address != 0 else 0
            add_norm_columns(
                o.dy.address + j * 4, more, o.x.address + j * 4, o.dy.ld, o.more.ld, o.x.ld, o.moments, o.rows,
                min(GROUP, o.n - j), o.gain + j * 4, o.shift + j * 4, chain_length(o.rows),
            )  # fmt: skip

    return norm_gradient
