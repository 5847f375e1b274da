"""Cross entropy with labels, and with a teacher's softened distribution; and the gradient of the logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minidistil.kernels.steps.table import Matrix, Number

MAX, SUM, AT_LABEL, GREATEST, SOFT_SUM, TEACHER_SUM, CROSS = range(7)
STATISTICS = 7
"""Columns of a row's statistics; AT_LABEL only where there is a label; GREATEST is an int32, the first position."""


class CrossEntropy(NamedTuple):
    """logits = hard (softmax(z) - onehot(label)) + soft T (softmax(z / T) - softmax(teacher / T)), in place.

    z are the logits as they were. logits, teacher: float32 [rows, n]; `teacher` has the address 0 where there is none.
    labels: address of int32 [rows], below n, and below 0 where a row has none: hard counts as 0 there. weights: address
    of float32 [3]: hard, soft, T. statistics: address of float32 [rows, STATISTICS], from which the losses follow. A
    row with a NaN becomes NaN as a whole. What rounds where: simd/losses.py.
    """

    logits: Matrix
    teacher: Matrix
    labels: Number
    rows: Number
    n: int
    weights: Number
    statistics: Number


def losses_of(statistics: np.ndarray, labels: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Sums over rows, one after another in float64, of cross entropies and of KL(teacher || student).

    CE = log(SUM) + MAX - AT_LABEL;  KL = CROSS / TEACHER_SUM + log(SOFT_SUM) - log(TEACHER_SUM), at least 0. No
    logarithm enters a gradient, so that what a C library makes of it changes no parameter.

    Args:
        statistics: float32 [rows, STATISTICS] that the operation left.
        labels: int [rows], as the operation had them.

    Returns:
        Both sums, before their weights; the first position of each row's greatest logit, int32 [rows].
    """
    values, hard, soft = statistics.astype(np.float64), 0.0, 0.0
    for row, label in zip(values.tolist(), labels.tolist(), strict=True):
        hard += _log(row[SUM]) + (row[MAX] - row[AT_LABEL]) if label >= 0 else 0.0
        soft += max(row[CROSS] / row[TEACHER_SUM] + (_log(row[SOFT_SUM]) - _log(row[TEACHER_SUM])), 0.0)
    return hard, soft, np.ascontiguousarray(statistics[:, GREATEST]).view(np.int32)


def _log(x: float) -> float:
    return math.log(x) if x > 0 else math.nan


def code() -> Callable:
    """What a thread does in such a step: whole rows."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.simd import losses
    from minidistil.kernels.simd.memory import get_f32, get_i32, set_f32, set_i32
    from minidistil.kernels.steps.team import next_task

    f32 = np.float32

    @part
    def cross_entropy(o, member):
        soft, degrees = get_f32(o.weights, 1), get_f32(o.weights, 2)
        while True:
            i = next_task(member)
            if i >= o.rows:
                break
            z, found = o.logits.address + i * o.logits.ld * 4, o.statistics + i * STATISTICS * 4
            label, hard = get_i32(o.labels, i), f32(0.0)
            top, place = losses.greatest(z, o.n, member.scratch)
            total = losses.sum_of_exponentials(z, top, f32(1.0), o.n)
            set_f32(found, MAX, top)
            set_f32(found, SUM, total)
            set_i32(found, GREATEST, place)
            set_f32(found, AT_LABEL, f32(0.0))
            if label >= 0:
                hard = get_f32(o.weights, 0)
                set_f32(found, AT_LABEL, get_f32(z, label))
            own, others, cross = f32(1.0), f32(1.0), f32(0.0)
            if o.teacher.address != 0:
                t, per_degree = o.teacher.address + i * o.teacher.ld * 4, f32(1.0) / degrees
                highest, _ = losses.greatest(t, o.n, member.scratch)
                own = losses.sum_of_exponentials(z, top, per_degree, o.n)
                others = losses.sum_of_exponentials(t, highest, per_degree, o.n)
                cross = losses.weighted_differences(t, highest, z, top, per_degree, o.n)
                losses.both_gradients(
                    z, top, total, label, hard, t, highest, per_degree, (own, others), soft * degrees, z, o.n
                )
            else:
                losses.hard_gradient(z, top, total, label, hard, z, o.n)
            set_f32(found, SOFT_SUM, own)
            set_f32(found, TEACHER_SUM, others)
            set_f32(found, CROSS, cross)

    return cross_entropy
