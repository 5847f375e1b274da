"""The backward pass of an activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class ActivationBackward(NamedTuple):
    """out = dy activation'(x): float32 [rows, n] all; out may be dy. activation: one of DIFFERENTIATED.
    """

    dy: Matrix
    x: Matrix
    out: Matrix
    rows: Number
    n: int
    activation: int


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part

    @part
    def todo(o, member):
        pass

    return todo
