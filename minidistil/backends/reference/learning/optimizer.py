"""AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019), in PyTorch's order of operations."""

from __future__ import annotations

import math

import numpy as np

from minidistil.backends.learning import Update
from minidistil.backends.reference.elementary import fma
from minidistil.backends.reference.learning.lanes import lane_dot

f32 = np.float32
CHUNK = 4096
"""Floats of the gradients whose squares make one sum."""


@np.errstate(all="ignore")
def sum_squares(x: np.ndarray) -> np.ndarray:
    """Sums of squares of chunks: float32 [n] -> [ceil(n / CHUNK)]; in sixteen lanes, zeros beyond the end."""
    padded = np.zeros(-(-len(x) // CHUNK) * CHUNK, f32)
    padded[: len(x)] = x
    chunks = padded.reshape(-1, CHUNK)
    return lane_dot(chunks, chunks)


def norm(sums: np.ndarray) -> float:
    """Length of the vector that `sum_squares` was given: its sums added one after another in float64."""
    total = 0.0
    for value in sums.tolist():
        total += value
    return math.sqrt(total)


def clip_factor(norm: float, largest: float | None) -> float:
    """What gradients of this norm are multiplied by, so that it is at most `largest`."""
    return 1.0 if largest is None else min(1.0, largest / (norm + 1e-6))


@np.errstate(all="ignore")
def adamw(
    values: np.ndarray,
    gradients: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    update: Update,
    clip: float,
    decays: bool,
) -> None:
    """One step, in place; the gradients become zero. All float32 [n].

    The scalars are made in float64 and rounded once each. Then, `fma` standing for one rounding:

        g = gradient clip;  p = p (1 - rate decay);  m = fma(g - m, 1 - beta1, m);  v = fma(g g, 1 - beta2, v beta2)
        p = fma(-rate / (1 - beta1^t), m / fma(sqrt(v), 1 / sqrt(1 - beta2^t), eps), p)
    """
    rate, t = update.learning_rate, update.step
    g = gradients * f32(clip)
    p = values * f32(1 - rate * update.decay if decays else 1)
    first[:] = fma(g - first, f32(1 - update.beta1), first)
    second[:] = fma(g * g, f32(1 - update.beta2), second * f32(update.beta2))
    root = f32(1 / math.sqrt(1 - update.beta2**t))
    values[:] = fma(first / fma(np.sqrt(second), root, f32(update.eps)), f32(-(rate / (1 - update.beta1**t))), p)
    gradients[:] = 0
