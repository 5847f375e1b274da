"""Rows added to those of a table: the gradient of an embedding."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class ScatterRows(NamedTuple):
    """out[ids[u]] += x[order[starts[u]]], then the next, ..., to starts[u + 1]: one addition after another for each u.

    x: float32 [rows, n]. ids: int32 [count], each once; order: int32, rows of x in increasing order for each id;
    starts: int32 [count + 1]; all by address. out: address of float32 [any, n], contiguous.
    """

    x: Matrix
    order: Number
    starts: Number
    ids: Number
    count: Number
    n: int
    out: int


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part

    @part
    def todo(o, member):
        pass

    return todo
