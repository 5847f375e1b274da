"""An activation whose input is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class ActivateRows(NamedTuple):
    """out = activation(x): float32 [rows, n] both, of which `out` may be x; activation: a number of layout.ACTIVATIONS.
    """

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
