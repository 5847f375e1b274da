"""The optimizer: AdamW (Loshchilov and Hutter, 2019), in PyTorch's order of operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Number


class Adamw(NamedTuple):
    """One update of n parameters, and gradients back to zero.

    parameters, gradients, first, second: addresses of float32 [n] each; the last two are the moments. numbers: address
    of float32 [NUMBERS] (clip, decay, beta1', beta2, beta2', root, eps, rate): see `code`.
    """

    parameters: int
    gradients: int
    first: int
    second: int
    n: int
    numbers: Number


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part

    @part
    def todo(o, member):
        pass

    return todo
