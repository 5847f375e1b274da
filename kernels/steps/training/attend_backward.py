"""The backward pass of attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.training.dropout import Chance
from minidistil.kernels.steps.table import Matrix, Number


class AttendBackward(NamedTuple):
    """Gradients of q, k and v from that of the context; the probabilities are computed again from the statistics.

    q, k, v, context, dcontext: float32 [tokens, heads * head_dim]. dqkv: float32 [tokens, 3 heads * head_dim],
    overwritten: dq, dk and dv side by side. The rest is as in attend_kept.py.
    """

    q: Matrix
    k: Matrix
    v: Matrix
    context: Matrix
    dcontext: Matrix
    dqkv: Matrix
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
