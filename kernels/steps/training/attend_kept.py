"""Attention in training: with dropout, and keeping what its backward pass needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.training.dropout import Chance
from minidistil.kernels.steps.table import Matrix, Number


class AttendKept(NamedTuple):
    """context = dropout(softmax(q k^T scale)) v, for each sentence and head; without dropout, Attend's bits.

    q, k, v, context: float32 [tokens, heads * head_dim]. offsets: int64 [sentences + 1]. statistics: address of float32
    [2, heads, tokens]: of every row of scores the greatest (scaled), and the reciprocal of the sum of exponentials.
    """

    q: Matrix
    k: Matrix
    v: Matrix
    context: Matrix
    heads: int
    head_dim: int
    scale: float
    sentences: Number
    offsets: Number
    tokens: Number
    statistics: Number
    dropout: Chance


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part

    @part
    def todo(o, member):
        pass

    return todo
