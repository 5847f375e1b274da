"""What is computed next, fetched into the second-level cache by the tiles of what is computed now."""

from __future__ import annotations

from typing import NamedTuple

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.products.tile import FETCHED, LANES, ROWS, SLIVER, tile

MATRICES = 4
"""Of a head: its part of k, v, q and the context, in the order in which they are needed."""


class Ahead(NamedTuple):
    """A head that is probably next: addresses of float32 [keys, head_dim] k and v, [queries, head_dim] q and context.

    Rows of the context are `ld_context` elements apart, of the others `ld`. Whatever is beyond them is not touched, but
    may be fetched, which is harmless where no memory is.
    """

    k: int
    v: int
    q: int
    context: int
    keys: int
    queries: int
    head_dim: int
    ld: int
    ld_context: int


@kernel
def multiply_fetching(a, lda, rows, b, columns, c, ldc, k, block, ahead, done):
    """`multiply` without a bias; each tile of a whole sliver fetches a piece of what lies ahead.

    A piece is as many bytes as a tile fetches at each k, of as many rows as the tile has k. `done` are the matrix, the
    bytes of its rows and the row where the next piece begins, (MATRICES, 0, 0) where there is none; returns the same
    for whoever goes on.
    """
    for first in range(0, k, block):
        part, length = b + first * columns * 4, min(block, k - first)
        for n in range(0, columns, SLIVER):
            width = min(SLIVER, columns - n)
            sliver = part + n * length * 4
            for m in range(0, rows, ROWS):
                fetch, step = sliver, 0
                if width == SLIVER and done[0] < MATRICES:
                    fetch, step = _piece(ahead, done)
                    done = _following(ahead, done, length)
                row_a, row_c = a + (m * lda + first) * 4, c + (m * ldc + n) * 4
                tile(
                    min(ROWS, rows - m), width // LANES, 4, row_a, lda, sliver, row_c, ldc, 0, length, length, first,
                    fetch, step,
                )  # fmt: skip
    return done


@kernel
def _piece(ahead, done):
    """Where a piece begins, and the bytes between its rows."""
    matrix, column, row = done
    start = ahead.k if matrix == 0 else ahead.v if matrix == 1 else ahead.q if matrix == 2 else ahead.context
    step = (ahead.ld if matrix < 3 else ahead.ld_context) * 4
    return start + column + row * step, step


@kernel
def _following(ahead, done, length):
    """The piece after one of so many rows."""
    matrix, column, row = done
    row += length
    if row >= (ahead.keys if matrix < 2 else ahead.queries):
        column, row = column + FETCHED, 0
        if column >= ahead.head_dim * 4:
            matrix, column = matrix + 1, 0
    return matrix, column, row
