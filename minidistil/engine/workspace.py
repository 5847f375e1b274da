"""Memory for activations: allocated once, grown to what is needed, reused; one for each caller at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from minidistil.kernels import layout
from minidistil.weights.packing import aligned_zeros


@dataclass(frozen=True)
class Buffers:
    """What a workspace consists of.

    Attributes:
        kind: layout.Workspace, or another of its sort.
        activations: its field for an array of activations -> its field for the leading dimension.
        widths: its field for a leading dimension -> columns of what lies side by side there, each in whole panels.
        head_dim: width of an attention head.
    """

    kind: Any
    activations: Mapping[str, str]
    widths: Mapping[str, tuple[int, ...]]
    head_dim: int


class Workspace:
    """Activations of up to `tokens` tokens and scratch for `threads` threads, in one block."""

    def __init__(self, buffers: Buffers, tokens: int, longest: int, threads: int) -> None:
        scratch = layout.scratch_floats(longest, buffers.head_dim)
        self.tokens, self.longest = tokens, longest
        leading = {
            name: layout.leading_dimension(sum(map(layout.padded_columns, widths)))
            for name, widths in buffers.widths.items()
        }
        sizes = {name: tokens * leading[ld] for name, ld in buffers.activations.items()}
        self.block = aligned_zeros(sum(sizes.values()) + threads * scratch)
        places, place = {}, self.block.ctypes.data
        for name, size in sizes.items():
            places[name] = place
            place += size * self.block.itemsize
        self.addresses = buffers.kind(**places, **leading, scratch=place, scratch_floats=scratch)


class WorkspacePool:
    """Workspaces that are free; a caller takes one, or makes one, and gives it back."""

    def __init__(self, buffers: Buffers, threads: int) -> None:
        self._buffers, self._threads = buffers, threads
        # Its pops and appends are atomic: no lock that a fork could leave locked in the child.
        self._free: deque[Workspace] = deque()

    @contextmanager
    def borrow(self, tokens: int, longest: int) -> Iterator[Workspace]:
        """A workspace for so many tokens in sentences of at most `longest`.

        It is dropped where the caller leaves with an exception: a thread may still be writing to it.
        """
        try:
            workspace = self._free.pop()
        except IndexError:
            workspace = Workspace(self._buffers, tokens, longest, self._threads)
        if workspace.tokens < tokens or workspace.longest < longest:
            tokens, longest = max(tokens, workspace.tokens), max(longest, workspace.longest)
            workspace = Workspace(self._buffers, tokens, longest, self._threads)
        yield workspace
        self._free.append(workspace)
