"""An activation by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Number


class Activate(NamedTuple):
    """x = activation(x), in place: x float32 [n] by its address, activation a number of layout.ACTIVATIONS."""

    x: Number
    n: Number
    activation: int


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.simd.activations import activate_row
    from minidistil.kernels.steps.team import next_task

    numbers_per_task = 1024

    @part
    def activate(o, member):
        while True:
            first = next_task(member) * numbers_per_task
            if first >= o.n:
                break
            x = o.x + first * 4
            activate_row(x, x, min(numbers_per_task, o.n - first), o.activation)

    return activate
