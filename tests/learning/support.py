"""Trying single operations of the training entry: memory that must not be touched, and teams of threads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidistil.backends.engine.threads import Team
from minidistil.kernels import layout
from minidistil.kernels.steps.table import CLOCK, SCRATCH, SCRATCH_FLOATS, Matrix, Steps
from minidistil.kernels.steps.take import take

_GUARD = np.uint32(0x7FC0BEEF).view(np.float32)  # a NaN that no arithmetic makes: who reads it shows it


class Guarded:
    """float32 [rows, n] amid memory that a step must leave alone, its rows `spare` elements further apart than n.

    Attributes:
        inside: the array, a view.
        matrix: where it lies.
    """

    def __init__(self, x: np.ndarray, spare: int = 5) -> None:
        rows, n = x.shape
        self._all = np.full((rows + 2, n + spare), _GUARD, np.float32)
        self.inside = self._all[1:-1, :n]
        self.inside[...] = x
        self.matrix = Matrix(layout.address(self._all) + (n + spare) * 4, n + spare)

    def check(self) -> np.ndarray:
        """What is inside; nothing around it may have changed."""
        bits = self._all.view(np.uint32).copy()
        bits[1:-1, : self.inside.shape[1]] = _GUARD.view(np.uint32)
        assert (bits == _GUARD.view(np.uint32)).all(), "written beyond the array"
        return np.ascontiguousarray(self.inside)


def guarded_vector(x: np.ndarray) -> Guarded:
    """float32 [n] in the same way, as one row."""
    return Guarded(x[None], spare=21)


def train(*operands: NamedTuple, threads: int = 1, scratch_floats: int = layout.GRADIENT_SCRATCH) -> None:
    """Take steps one after another, on the caller's thread or by a team."""
    if threads == 1:
        take(*operands, scratch_floats=scratch_floats, entry="train")
        return
    scratch = np.full(threads * scratch_floats, _GUARD, np.float32)
    steps = Steps([(step, True) for step in operands], entry="train")
    values = {SCRATCH.name: layout.address(scratch), SCRATCH_FLOATS.name: scratch_floats, CLOCK.name: 0}
    team = Team(threads)
    with team.turn():
        team.run(steps, values, scratch)
