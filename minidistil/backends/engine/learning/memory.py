"""Memory of a micro-batch: how much it takes is known before; one block holds it all, and is used again and again."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidistil.backends.engine.learning.planner import APART
from minidistil.backends.engine.planner import TOKENS, WANTED
from minidistil.kernels import layout
from minidistil.kernels.steps.table import SCRATCH, SCRATCH_FLOATS, Variable
from minidistil.weights.packing import aligned_zeros

TURNED = "turned"
"""The buffer of turned matrices."""

_LINE = 16  # floats of a cache line


class Layout(NamedTuple):
    """What a list of steps needs.

    Attributes:
        buffers: name -> elements of a row, and what counts its rows.
        turned: variables that stand for rows of the turned matrix: (row, how far rows lie apart).
        widest: columns of the turned matrix at most.
    """

    buffers: dict[str, tuple[int, Variable]]
    turned: dict[str, tuple[int, Variable]]
    widest: int


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

    def floats(self, of: Layout, size: Size) -> int:
        """How many a micro-batch takes."""
        return _places(of, size)[1] + self._threads * self._scratch(size)

    def place(self, of: Layout, size: Size) -> tuple[np.ndarray, dict[str, int]]:
        """The block, and the variables of the steps that say where everything lies in it."""
        if self._block.size < (needed := self.floats(of, size)):
            self._block = np.empty(0, np.float32)  # let go first
            self._block = aligned_zeros(needed)
        start, counts = layout.address(self._block), _counts(size)
        places, end = _places(of, size)
        values = {name: start + place * 4 for name, place in places.items()}
        for name, (row, apart) in of.turned.items():
            values[name] = values[TURNED] + row * counts[apart.name] * 4
        values |= {SCRATCH.name: start + end * 4, SCRATCH_FLOATS.name: self._scratch(size)}
        return self._block, counts | values

    def _scratch(self, size: Size) -> int:
        """Floats of scratch a thread."""
        attention = layout.scratch_floats(size.longest, self._head_dim)
        return -(-attention // _LINE) * _LINE


def _places(of: Layout, size: Size) -> tuple[dict[str, int], int]:
    """Where each buffer begins, in floats, and where the last ends."""
    counts, places, end = _counts(size), {}, 0
    for name, (each, rows) in (of.buffers | {TURNED: (of.widest, APART[TOKENS])}).items():
        places[name] = end
        end += -(-each * counts[rows.name] // _LINE) * _LINE
    return places, end


def _counts(size: Size) -> dict[str, int]:
    counts = {TOKENS: size.tokens, WANTED: size.rows}
    apart = {APART[variable]: layout.leading_dimension(count) for variable, count in counts.items()}
    return {variable.name: count for variable, count in (counts | apart).items()}
