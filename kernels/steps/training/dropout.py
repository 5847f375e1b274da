"""Dropout: what is kept follows from counters (Philox4x32-10, Salmon et al. 2011), so no mask is ever stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class Chance(NamedTuple):
    """Which elements of a matrix are kept.

    threshold: an element is dropped where its random uint32 is below this; 0 for no dropout. factor: what the others
    are multiplied by, float32 1 / (1 - p). key: two uint32, the seed. step: of the run, from 0. site: the matrix in the
    model. first_row: how many tokens of this step came before, in other micro-batches.
    """

    threshold: int
    factor: float
    key0: int
    key1: int
    site: int
    step: Number
    first_row: Number


class Dropout(NamedTuple):
    """out = dropout(x): float32 [rows, n] both, of which `out` may be x."""

    x: Matrix
    out: Matrix
    rows: Number
    n: int
    chance: Chance


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.products.gemm import copy_rows
    from minidistil.kernels.simd.philox import drop_row
    from minidistil.kernels.steps.share import next_rows

    most_rows = 8

    @part
    def dropout(o, member):
        while True:
            first, end = next_rows(member, o.rows, most_rows)
            if first >= end:
                break
            for i in range(first, end):
                x, out = o.x.address + i * o.x.ld * 4, o.out.address + i * o.out.ld * 4
                if o.chance.threshold != 0:
                    drop_row(x, out, o.n, o.chance, o.chance.site, o.chance.first_row + i)
                elif x != out:
                    copy_rows(x, 0, out, 0, 1, o.n)

    return dropout
