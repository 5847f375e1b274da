"""Memory for activations: allocated once, grown to what is needed, reused; one for each caller at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from minidistil.config import Config
from minidistil.kernels import layout
from minidistil.weights.packing import aligned_zeros


class Workspace:
    """Activations of up to `tokens` tokens and scratch for `threads` threads, in one block."""

    def __init__(self, config: Config, tokens: int, longest: int, threads: int) -> None:
        columns = layout.padded_columns(config.dim)
        ld_x = layout.leading_dimension(columns)
        ld_qkv = layout.leading_dimension(3 * columns)
        ld_hidden = layout.leading_dimension(layout.padded_columns(max(config.hidden_dim, config.embedding_size)))
        scratch = layout.scratch_floats(longest, config.head_dim)
        self.tokens, self.longest = tokens, longest
        widths = (ld_x, ld_x, ld_qkv, ld_x, ld_hidden)
        self.block = aligned_zeros(tokens * sum(widths) + threads * scratch)
        start = self.block.ctypes.data
        x, y, qkv, context, hidden, end = (start + tokens * sum(widths[:i]) * 4 for i in range(len(widths) + 1))
        self.addresses = layout.Workspace(x, y, qkv, context, hidden, ld_x, ld_qkv, ld_hidden, end, scratch)


class WorkspacePool:
    """Workspaces that are free; a caller takes one, or makes one, and gives it back."""

    def __init__(self, config: Config, threads: int) -> None:
        self._config, self._threads = config, threads
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
            workspace = Workspace(self._config, tokens, longest, self._threads)
        if workspace.tokens < tokens or workspace.longest < longest:
            tokens, longest = max(tokens, workspace.tokens), max(longest, workspace.longest)
            workspace = Workspace(self._config, tokens, longest, self._threads)
        yield workspace
        self._free.append(workspace)
