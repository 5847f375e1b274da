"""Memory of a micro-batch: how much it takes is known before; one block holds it all, and is used again and again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from minidistil.backends.engine.planner import TOKENS, WANTED
from minidistil.kernels import layout
from minidistil.kernels.steps.table import SCRATCH, SCRATCH_FLOATS, Variable
from minidistil.weights.packing import aligned_zeros

_LINE = 16  # floats of a cache line


Buffers = Mapping[str, tuple[int, Variable]]
"""What a list of steps needs: name -> elements of a row, and what counts its rows."""


class Size(NamedTuple):
    """Of a micro-batch."""

    tokens: int
    rows: int
    longest: int


class Memory:
    """The block; it grows to what is needed."""

    def __init__(self, head_dim: int, threads: int) -> None:
        self._head_dim, self._threads = head_dim, threads
        self._block = np.empty(0, np.float32)

    def floats(self, buffers: Buffers, size: Size) -> int:
        """How many a micro-batch takes."""
        return _places(buffers, size)[1] + self._threads * self._scratch(size)

    def place(self, buffers: Buffers, size: Size) -> tuple[np.ndarray, dict[str, int]]:
        """The block, and the variables of the steps that say where everything lies in it."""
        if self._block.size < (needed := self.floats(buffers, size)):
            self._block = np.empty(0, np.float32)  # let go first
            self._block = aligned_zeros(needed)
        start, (places, end) = layout.address(self._block), _places(buffers, size)
        values = {name: start + place * 4 for name, place in places.items()}
        values |= {SCRATCH.name: start + end * 4, SCRATCH_FLOATS.name: self._scratch(size)}
        return self._block, _counts(size) | values

    def _scratch(self, size: Size) -> int:
        """Floats of scratch a thread."""
        return max(layout.backward_scratch(size.longest, self._head_dim), layout.GRADIENT_SCRATCH)


def _places(buffers: Buffers, size: Size) -> tuple[dict[str, int], int]:
    """Where each buffer begins, in floats, and where the last ends."""
    counts, places, end = _counts(size), dict[str, int](), 0
    for name, (each, rows) in buffers.items():
        places[name] = end
        end += -(-each * counts[rows.name] // _LINE) * _LINE
    return places, end


def _counts(size: Size) -> dict[str, int]:
    return {TOKENS.name: size.tokens, WANTED.name: size.rows}
