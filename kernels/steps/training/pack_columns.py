"""Weights into panels for the backward product dX = dY W, whose sum runs over the rows of W."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Number


class PackColumns(NamedTuple):
    """Rows of W float32 [n, k], contiguous, as positions `first` to `first + n` of the sum, `of` long, of a packed [of, k].

    out: address of float32 [panels(k), of, PANEL], what layout.pack makes of W^T (several W one above another where
    first and of say so); columns beyond k become zero.
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

    @part
    def todo(o, member):
        pass

    return todo
