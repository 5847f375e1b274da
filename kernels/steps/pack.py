"""Weights into panels."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Pack(NamedTuple):
    """W float32 [n, k], contiguous, into `out` float32 [panels(n), k, PANEL], both by address; see layout.pack."""

    weight: int
    n: int
    k: int
    out: int


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.layout import PANEL
    from minidistil.kernels.products.packing import pack_rows
    from minidistil.kernels.steps.team import next_task

    @part
    def pack(o, member):
        while True:
            first = next_task(member) * PANEL
            if first >= o.n:
                break
            weight, out = o.weight + first * o.k * 4, o.out + first * o.k * 4
            pack_rows(weight, o.k, min(PANEL, o.n - first), o.k, out, PANEL)

    return pack
