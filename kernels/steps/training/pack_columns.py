"""Weights into panels for the backward product dX = dY W, whose sum runs over the rows of W."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class PackColumns(NamedTuple):
    """W float32 [n, k], contiguous, as positions `first` to `first + n` of a sum that is `of` long.

    out: address of float32 [panels(k), of, PANEL], what layout.pack makes of W^T, or of several W one above another;
    columns beyond k become zero.
    """

    weight: int
    n: int
    k: int
    out: int
    first: int
    of: int


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.layout import PANEL
    from minidistil.kernels.products.packing import pack_columns as pack
    from minidistil.kernels.steps.team import next_task

    @part
    def pack_columns(o, member):
        while True:
            column = next_task(member) * PANEL
            if column >= o.k:
                break
            pack(o.weight + column * 4, o.k, o.n, o.k - column, o.out + column * o.of * 4, o.first, o.of)

    return pack_columns
