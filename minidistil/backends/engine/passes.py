"""How a batch is cut into passes: which sentences go through the model together, and whether by one thread.

No result depends on it. A pass by one thread alone waits for nobody, and its activations stay in that thread's cache;
but it reads all of the weights, and threads with passes of their own must all have about as much to do.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minidistil.backends.batch import PackedBatch

MOST_TOKENS = 2048
"""Of a pass, or one sentence. Enough that the weights' way from memory is forgotten; few enough for little memory."""

_MOST_OPERATIONS = 48e9  # of a pass: half a second on one core, so that Ctrl-C is heard
_ALONE_FLOATS = 600_000  # of a pass by one thread, its widest activations: about what a second-level cache holds
# Tokens of such a pass at least, for each thread of the team: all of them fetch all of the weights, and what memory
# gives them together does not grow with them.
_LEAST_ALONE = 16
_UNEVEN = 1.1  # times what a thread would have to do if all had the same


class Pass(NamedTuple):
    """A part of a batch.

    Attributes:
        batch: its sentences.
        tokens: their tokens in the whole batch.
        rows: which of its tokens are wanted, or None for all.
        results: the place of its results among all.
    """

    batch: PackedBatch
    tokens: slice
    rows: np.ndarray | None
    results: slice


class Cut(NamedTuple):
    """A batch in passes.

    Attributes:
        passes: one after another.
        apart: whether each is for one thread alone, several at a time; or for all threads together.
    """

    passes: list[Pass]
    apart: bool

    @property
    def order(self) -> list[int]:
        """In which they are best begun: the longest first, so that the threads end together."""
        return sorted(range(len(self.passes)), key=lambda i: -self.passes[i].batch.tokens)


class Limits(NamedTuple):
    """How many tokens passes have.

    Attributes:
        threads: of the team.
        together: at most, or one sentence, of a pass by all threads.
        alone: about, of a pass by one thread alone.
        least: of such a pass; 1 where there is but one thread.
    """

    threads: int
    together: int
    alone: int
    least: int


def limits(threads: int, token_operations: float, widest: int) -> Limits:
    """Those of a model.

    Args:
        threads: of the team.
        token_operations: of a pass, a token.
        widest: columns of its widest activations.
    """
    together = max(1, min(MOST_TOKENS, int(_MOST_OPERATIONS / token_operations)))
    least = threads * _LEAST_ALONE if threads > 1 else 1
    return Limits(threads, together, min(together, max(_ALONE_FLOATS // widest, least)), least)


def cut_in_passes(batch: PackedBatch, rows: np.ndarray | None, limits: Limits) -> Cut:
    """Cut a batch between sentences.

    Args:
        batch: any.
        rows: int [R], the tokens that are wanted, sorted; None for all.
        limits: of the model.
    """
    ends = _apart(batch.offsets, limits)
    if ends is None:
        return Cut([*_passes(batch, rows, _together(batch.offsets, limits.together))], False)
    return Cut([*_passes(batch, rows, ends)], True)


def _apart(offsets: np.ndarray, limits: Limits) -> list[int] | None:
    """The ends, in sentences, of passes for single threads, about as long as one another; None where that does not do.

    Where there are too few tokens for all threads, or some would wait for others.
    """
    threads, tokens, sentences = limits.threads, int(offsets[-1]), len(offsets) - 1
    if sentences < threads or tokens < threads * limits.least:
        return None
    count = threads * min(-(-tokens // (threads * limits.alone)), tokens // (threads * limits.least))
    if count == 1:
        return [sentences]
    # The sentence's end that is nearest to each of the even parts' ends.
    even = np.arange(1, count) * tokens / count
    after = np.searchsorted(offsets, even)
    nearest = after - (even - offsets[after - 1] < offsets[after] - even)
    ends = sorted({*nearest.tolist(), sentences} - {0})
    busy = [0] * threads
    for length in sorted(np.diff(offsets[[0, *ends]]).tolist(), reverse=True):
        heapq.heapreplace(busy, busy[0] + length)
    return ends if threads == 1 or max(busy) * threads <= _UNEVEN * tokens else None


def _together(offsets: np.ndarray, most: int) -> Iterator[int]:
    """The ends, in sentences, of passes for all threads: as many tokens as there may be."""
    end = 0
    while end < len(offsets) - 1:
        limit = offsets[end] + most
        end = max(end + 1, int(np.searchsorted(offsets, limit, side="right")) - 1)
        yield end


def _passes(batch: PackedBatch, rows: np.ndarray | None, ends: Iterator[int] | list[int]) -> Iterator[Pass]:
    first = 0
    for end in ends:
        start, stop = int(batch.offsets[first]), int(batch.offsets[end])
        some, results = None, slice(start, stop)
        if rows is not None:
            results = slice(int(np.searchsorted(rows, start)), int(np.searchsorted(rows, stop)))
            some = rows[results] - start
        if some is None or len(some):
            part = batch if end - first == batch.sentences else _part(batch, first, end)
            yield Pass(part, slice(start, stop), some, results)
        first = end


def _part(batch: PackedBatch, first: int, end: int) -> PackedBatch:
    tokens = slice(int(batch.offsets[first]), int(batch.offsets[end]))
    return PackedBatch(
        None if batch.input_ids is None else batch.input_ids[tokens],
        batch.position_ids[tokens],
        None if batch.token_type_ids is None else batch.token_type_ids[tokens],
        None if batch.inputs_embeds is None else batch.inputs_embeds[tokens],
        batch.offsets[first : end + 1] - batch.offsets[first],
        None if batch.attention_bias is None else batch.attention_bias[first:end],
    )
