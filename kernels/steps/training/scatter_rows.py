"""Rows added to those of a table: the gradient of an embedding."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minidistil.kernels.steps.table import Matrix, Number


class ScatterRows(NamedTuple):
    """out[ids[u]] += x[order[starts[u]]], then the next, ..., to starts[u + 1]: one addition after another for each u.

    x: float32 [rows, n]. ids: int32 [distinct], each once; order: int32, rows of x in increasing order for each id;
    starts: int32 [distinct + 1]; all by address (`grouped` makes them). out: address of float32 [any, n], contiguous.
    """

    x: Matrix
    order: Number
    starts: Number
    ids: Number
    distinct: Number
    n: int
    out: int


def grouped(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the operation wants to know of the table's rows that the rows of x belong to.

    Args:
        ids: int [T], a row of the table for each row of x.

    Returns:
        order int32 [T], starts int32 [distinct + 1], ids int32 [distinct].
    """
    order = np.argsort(ids, kind="stable")
    distinct, first = np.unique(ids[order], return_index=True)
    starts = np.append(first, len(ids))
    return order.astype(np.int32), starts.astype(np.int32), distinct.astype(np.int32)


def code() -> Callable:
    """What a thread does in such a step: rows of the table belong to one thread each, so no two add to the same."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.simd.memory import get_i32
    from minidistil.kernels.simd.rows import sum_row
    from minidistil.kernels.steps.team import next_task

    @part
    def scatter_rows(o, member):
        while True:
            u = next_task(member)
            if u >= o.distinct:
                break
            out = o.out + get_i32(o.ids, u) * o.n * 4
            for i in range(get_i32(o.starts, u), get_i32(o.starts, u + 1)):
                sum_row(out, o.x.address + get_i32(o.order, i) * o.x.ld * 4, 0, o.n, 0, 0, out)

    return scatter_rows
