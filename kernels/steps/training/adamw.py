"""The optimizer: AdamW (Loshchilov and Hutter, 2019), in PyTorch's order of operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minidistil.kernels.steps.table import Number

NUMBERS = 8


class Adamw(NamedTuple):
    """One update of n parameters, and gradients back to zero.

        g = gradient clip;  m = fma(g - m, 1 - beta1, m);  v = fma(g g, 1 - beta2, v beta2)
        p = fma(-rate / (1 - beta1^t), m / fma(sqrt(v), 1 / sqrt(1 - beta2^t), eps), p (1 - rate decay))

    parameters, gradients, first, second: addresses of float32 [n] each; the last two are the moments m and v. numbers:
    address of float32 [NUMBERS], of `numbers_of`.
    """

    parameters: int
    gradients: int
    first: int
    second: int
    n: int
    numbers: Number


def numbers_of(
    step: int, rate: float, decay: float, beta1: float, beta2: float, eps: float, clip: float = 1.0
) -> np.ndarray:
    """The scalars of an update, made in float64 and rounded once each.

    Args:
        step: of the run, from 1.
        rate, decay, beta1, beta2, eps: as PyTorch's AdamW has them; a decay of 0 for biases and LayerNorms.
        clip: what the gradients are multiplied by.

    Returns:
        float32 [NUMBERS]: clip, 1 - rate decay, 1 - beta1, beta2, 1 - beta2, 1 / sqrt(1 - beta2^step), eps, and
        -rate / (1 - beta1^step).
    """
    root = 1 / math.sqrt(1 - beta2**step)
    scalars = (clip, 1 - rate * decay, 1 - beta1, beta2, 1 - beta2, root, eps, -(rate / (1 - beta1**step)))
    return np.array(scalars, np.float32)


def clip_factor(norm: float, largest: float | None) -> float:
    """What gradients of this norm are multiplied by, so that it is at most `largest` (None: whatever it is)."""
    return 1.0 if largest is None else min(1.0, largest / (norm + 1e-6))


def code() -> Callable:
    """What a thread does in such a step: so many parameters at a time."""
    from minidistil.kernels.code.compile import part
    from minidistil.kernels.simd.optimizer import step_of_adamw
    from minidistil.kernels.steps.team import next_task

    numbers_per_task = 4096

    @part
    def adamw(o, member):
        while True:
            first = next_task(member) * numbers_per_task
            if first >= o.n:
                break
            at, some = first * 4, min(numbers_per_task, o.n - first)
            step_of_adamw(o.parameters + at, o.gradients + at, o.first + at, o.second + at, some, o.numbers)

    return adamw
