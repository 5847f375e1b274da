"""Weights into panels."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Pack(NamedTuple):
    """W float32 [n, k], contiguous, into `out` float32 [panels(n), k, PANEL], both by address; see layout.pack.

    bf16: not zero where both are bfloat16; then k is one of layout.in_pairs.
    """

    weight: int
    n: int
    k: int
    out: int
    bf16: int = 0


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.layout import PANEL
    from minidistil.kernels.products.packing import pack_bfloat16, pack_rows
    from minidistil.kernels.steps.team import next_task

    @part
    def pack(o, member):
        while True:
            first = next_task(member) * PANEL
            if first >= o.n:
                break
            count, size = min(PANEL, o.n - first), 2 if o.bf16 != 0 else 4
            weight, out = o.weight + first * o.k * size, o.out + first * o.k * size
            if o.bf16 != 0:
                pack_bfloat16(weight, count, o.k, out)
            else:
                pack_rows(weight, o.k, count, o.k, out, PANEL)

    return pack
