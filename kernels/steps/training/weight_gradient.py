"""The gradient of a product's weights, a product whose sum runs over the tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class WeightGradient(NamedTuple):
    """out += dY^T X, in the order of sums of every product: blocks of chain_length(rows) tokens, added one after another.

    dy: address of dY^T, float32 [n, rows], its rows `ld` apart (transpose.py). x: float32 [rows, k]. out: address of
    float32 [n, k], contiguous. Each thread packs panels of X into its scratch: float32 [rows, PANEL] more than that.
    """

    dy: Number
    ld: Number
    x: Matrix
    rows: Number
    n: int
    k: int
    out: int


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part

    @part
    def todo(o, member):
        pass

    return todo
