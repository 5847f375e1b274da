"""How the learning rate goes: up from zero, and down to it again, both in straight lines."""

from __future__ import annotations


def rate(step: int, steps: int, highest: float, warmup: float) -> float:
    """Return the learning rate of a step.

    Args:
        step: counted from 1.
        steps: of the run.
        highest: reached at the end of the warm-up.
        warmup: the part of the steps in which it rises.
    """
    rising = round(warmup * steps)
    if step <= rising:
        return highest * step / rising
    return highest * (steps + 1 - step) / (steps + 1 - max(rising, 1))
