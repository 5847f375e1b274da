"""What a model is taught by: cross entropy with labels and with a teacher, and the directions of hidden states.

`R` rows that the head reads, `N` logits a row, `T` tokens, `D` width.
"""

from __future__ import annotations

import math

import numpy as np

from minidistil.backends.learning import LossWeights
from minidistil.backends.reference.elementary import expf, fma
from minidistil.backends.reference.learning.lanes import lane_dot, lane_sum

f32 = np.float32
MAX, SUM, AT_LABEL, GREATEST, SOFT_SUM, TEACHER_SUM, CROSS = range(7)
"""Columns of a row's statistics. GREATEST, an int32 by its bits: the first column that has the greatest logit."""

SHORTEST = f32(1e-8)
"""A row of hidden states that is not as long as this has no direction (PyTorch's eps of cosine_similarity)."""


@np.errstate(all="ignore")  # infinities and NaN go through
def cross_entropy(
    logits: np.ndarray, teacher: np.ndarray | None, labels: np.ndarray, weights: LossWeights
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of hard * CE(label) + soft * temperature^2 * KL(teacher || student) in every logit, row by row.

    Args:
        logits, teacher: float32 [R, N]; the teacher's or None.
        labels: int [R], below 0 where a row has none: there is no hard term then.
        weights: hard, soft, temperature.

    Returns:
        Gradient float32 [R, N]; statistics float32 [R, 7], from which the losses follow (`losses_of`).
    """
    hard, soft, temperature = f32(weights.hard), f32(weights.soft), f32(weights.temperature)
    statistics = np.zeros((len(logits), 7), f32)
    statistics[:, SOFT_SUM] = statistics[:, TEACHER_SUM] = f32(1)  # what gives no loss where there is no teacher
    top, d = _below_greatest(logits)
    e = expf(d)
    total = lane_sum(e)
    labelled = np.flatnonzero(labels >= 0)
    p = e * (f32(1) / total)[:, None]
    p[labelled, labels[labelled]] -= f32(1)
    gradient = p * np.where(labels >= 0, hard, f32(0))[:, None]
    statistics[:, MAX], statistics[:, SUM] = top, total
    statistics[labelled, AT_LABEL] = logits[labelled, labels[labelled]]
    greatest = np.where(np.isneginf(top), 0, (logits == top[:, None]).argmax(axis=1))
    statistics[:, GREATEST] = greatest.astype(np.int32).view(f32)
    if teacher is not None:
        per_degree = f32(1) / temperature
        d_student, d_teacher = d * per_degree, _below_greatest(teacher)[1] * per_degree
        e_student, e_teacher = expf(d_student), expf(d_teacher)
        sum_student, sum_teacher = lane_sum(e_student), lane_sum(e_teacher)
        q, t = e_student * (f32(1) / sum_student)[:, None], e_teacher * (f32(1) / sum_teacher)[:, None]
        gradient = fma(q - t, soft * temperature, gradient)
        further = np.where(e_teacher > 0, d_teacher - d_student, f32(0))  # 0 times infinity is no loss
        statistics[:, SOFT_SUM], statistics[:, TEACHER_SUM] = sum_student, sum_teacher
        statistics[:, CROSS] = lane_dot(e_teacher, further)
    return gradient, statistics


def losses_of(statistics: np.ndarray, labels: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Sums over rows, one after another in float64, of CE(label) and of KL(teacher || student); the greatest logits.

    CE = log(sum e^(z - max)) + max - z[label];  KL = sum t (d_teacher - d_student) + log(sum of the student's
    exponentials) - log(that of the teacher's), with d what a softened logit lies below the greatest.

    Args:
        statistics: float32 [R, 7], as `cross_entropy` returns them.
        labels: int [R].

    Returns:
        Hard loss, soft loss, both before their weights and temperature^2; columns of the greatest logits, int32 [R].
    """
    hard = soft = 0.0
    for row, label in zip(statistics.tolist(), labels, strict=True):
        if label >= 0:
            hard += _log(row[SUM]) + (row[MAX] - row[AT_LABEL])
        # Rounding may leave less than nothing where the two are all but equal; NaN stays.
        soft += max(row[CROSS] / row[TEACHER_SUM] + (_log(row[SOFT_SUM]) - _log(row[TEACHER_SUM])), 0.0)
    return hard, soft, statistics[:, GREATEST].copy().view(np.int32)


@np.errstate(all="ignore")
def cosine(x: np.ndarray, teacher: np.ndarray, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of weight * (1 - cos(x, teacher)) in x, row by row, as the two multiples of x and teacher that it is.

        gradient = x (cos / |x|^2) weight - teacher weight / (|x| |teacher|)

    Args:
        x, teacher: float32 [T, D].
        weight: of each row.

    Returns:
        Factors float32 [T, 2] of x and of teacher, which `add_cosine` multiplies and adds; cosines float32 [T].
    """
    length, other = np.sqrt(lane_dot(x, x)), np.sqrt(lane_dot(teacher, teacher))
    both = length * other
    cosines = lane_dot(x, teacher) / both
    factors = np.stack([cosines / (length * length) * f32(weight), f32(weight) / both], axis=1)
    none = (length < SHORTEST) | (other < SHORTEST)
    return np.where(none[:, None], f32(0), factors), np.where(none, f32(0), cosines)


def add_cosine(gradient: np.ndarray, x: np.ndarray, teacher: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """gradient + what `cosine` says of x and teacher, two fma an element: float32 [T, D]."""
    return fma(-factors[:, 1:], teacher, fma(factors[:, :1], x, gradient))


def _below_greatest(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The greatest of each row, NaN passed over and zero positive, and z minus it: float32 [R, N] -> [R], [R, N]."""
    top = np.where(np.isnan(z), f32(-np.inf), z).max(axis=1) + f32(0)
    return top, z - top[:, None]


def _log(x: float) -> float:
    """The logarithm of a sum of exponentials; of what is none (NaN, or a sum of nothing) NaN."""
    return math.log(x) if x > 0 else math.nan
