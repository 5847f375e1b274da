"""Cross entropy with labels, and with a teacher's softened distribution; and the gradient of the logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minidistil.kernels.steps.table import Matrix, Number


class CrossEntropy(NamedTuple):
    """logits = hard (softmax(z) - onehot(label)) + soft T (softmax(z / T) - softmax(teacher / T)), of z = logits, in place.

    logits, teacher: float32 [rows, n]; `teacher` has the address 0 where there is none. labels: address of int32
    [rows], below 0 where a row has none. weights: address of float32 [3]: hard, soft, T. statistics: address of float32
    [rows, STATISTICS], from which the losses follow.
    """

    logits: Matrix
    teacher: Matrix
    labels: Number
    rows: Number
    n: int
    weights: Number
    statistics: Number


def code() -> Callable:
    """What a thread does in such a step."""
    from minidistil.kernels.code.compile import part

    @part
    def todo(o, member):
        pass

    return todo
