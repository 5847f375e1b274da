"""What the cores can read from memory at most; no part of a pass, but measured as one is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class ReadMemory(NamedTuple):
    """Reading x float32 [n], each thread its share; out: float32 [threads], what keeps the reading alive."""

    x: int
    n: int
    out: int


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.layout import READ_STEP
    from minidistil.kernels.products.roofs import read
    from minidistil.kernels.simd.memory import set_f32

    @part
    def read_memory(o, member):
        share = o.n // member.threads // READ_STEP * READ_STEP
        set_f32(o.out, member.thread, read(o.x + member.thread * share * 4, share))

    return read_memory
