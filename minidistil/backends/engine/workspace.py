"""Memory for activations: allocated once, grown to what is needed, reused; one for each caller at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from minidistil.kernels import layout
from minidistil.kernels.steps.table import SCRATCH, SCRATCH_FLOATS
from minidistil.weights.packing import aligned_zeros

_NONE = np.empty(0, np.float32)


class Workspace(NamedTuple):
    """Activations of a pass, and scratch for each thread.

    Attributes:
        block: all of it, float32.
        values: the address of each buffer by its name, and where the scratch lies: variables of the steps.
    """

    block: np.ndarray
    values: dict[str, int]


class WorkspacePool:
    """Blocks of memory that are free, with their addresses; a caller takes one, or makes one, and gives it back."""

    def __init__(self, head_dim: int) -> None:
        self._head_dim = head_dim
        # Its pops and appends are atomic: no lock that a fork could leave locked in the child.
        self._free: deque[tuple[np.ndarray, int]] = deque()

    @contextmanager
    def borrow(self, buffers: Mapping[str, int], tokens: int, longest: int, threads: int) -> Iterator[Workspace]:
        """A workspace for so many tokens in sentences of at most `longest`; `buffers` have so many elements a token.

        It is dropped where the caller leaves with an exception: a thread may still be writing to it.
        """
        scratch = layout.scratch_floats(longest, self._head_dim)
        size = tokens * sum(buffers.values()) + threads * scratch
        try:
            block, start = self._free.pop()
        except IndexError:
            block, start = _NONE, 0
        if block.size < size:
            block = aligned_zeros(size)
            start = layout.address(block)
        values, place = {SCRATCH_FLOATS.name: scratch}, start
        for name, ld in buffers.items():
            values[name] = place
            place += tokens * ld * block.itemsize
        values[SCRATCH.name] = place
        yield Workspace(block, values)
        self._free.append((block, start))
