"""What the cores can compute at most; no part of a pass, but measured as one is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class MultiplyAdds(NamedTuple):
    """`rounds` of the register tile's multiply-adds on every thread; out: float32 [threads], what keeps them alive."""

    rounds: int
    out: int


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.products.roofs import multiply_adds as rounds_of
    from minidistil.kernels.simd.memory import get_f32, set_f32

    @part
    def multiply_adds(o, member):
        set_f32(o.out, member.thread, rounds_of(o.rounds, get_f32(o.out, member.thread)))

    return multiply_adds
