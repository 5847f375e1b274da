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

    @part
    def todo(o, member):
        pass

    return todo
