"""Texts and pairs as windows of tokens, cut as transformers cuts them.

The `tokenizers` library can do this too, but only by settings of the tokenizer, which every thread would share.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from minidistil.tokenization.texts import is_pair, refuse_half_characters
from minidistil.tokenization.tokenizer_json import library
from minidistil.weights import CheckpointError

if TYPE_CHECKING:
    from tokenizers import Encoding
    from tokenizers import Tokenizer as Backend


def encode(backend: Backend, where: str, batch: Sequence[Any], special: bool, split: bool) -> list[Encoding]:
    """Encode texts or pairs whole; `special` tokens around them or not, `split` into words already or not.

    Raises:
        CheckpointError: the tokenizer is at fault; `where` says whose it is.
        UnicodeError: half of a surrogate pair in a text, which is no character.
    """
    try:
        with _tokenizer_of(where):
            encodings: list[Encoding] = backend.encode_batch(batch, add_special_tokens=special, is_pretokenized=split)
    except CheckpointError:
        for item in batch:
            refuse_half_characters(item)
        raise
    return encodings


def encode_windows(
    backend: Backend,
    where: str,
    batch: Sequence[Any],
    strategy: str,
    limit: int,
    stride: int,
    special: bool,
    split: bool,
    side: str,
) -> list[list[Encoding]]:
    """Encode texts or pairs, each in as many windows as it takes.

    Args:
        backend: the compiled tokenizer, which is not changed.
        where: whose it is, for errors.
        batch: str or pairs of str; where `split`, lists of words or pairs of such lists.
        strategy: which part of a pair is cut: "longest_first", "only_first" or "only_second".
        limit: of a window, in tokens, special ones included.
        stride: tokens that a window repeats of the one before it.
        special: put special tokens around.
        split: the texts are lists of words.
        side: "right" keeps the text's beginning in the first window, "left" its end.

    Returns:
        Windows of each item; one where it fits.

    Raises:
        ValueError: the special tokens, or the part that stays whole, leave too little room.
    """
    return [
        [e] if len(e) <= limit else _cut(backend, where, item, strategy, limit, stride, special, split, side)
        for e, item in zip(encode(backend, where, batch, special, split), batch, strict=True)
    ]


def truncated_lengths(lengths: list[int], strategy: str, room: int) -> list[int]:
    """Return the lengths of a text, or of a pair, cut to `room` tokens in all.

    Args:
        lengths: tokens of each, special ones not counted.
        strategy: "longest_first" (the longer of a pair gives first), "only_first" or "only_second".
        room: in tokens.

    Raises:
        ValueError: the text that is to be cut does not have the tokens that must go.
    """
    excess = sum(lengths) - room
    if excess <= 0:
        return lengths
    if strategy == "longest_first":
        if len(lengths) == 1:
            return [room]
        shorter, longer = sorted(lengths)
        longer = longer if shorter > room else max(shorter, room - shorter)
        if shorter + longer > room:
            shorter, longer = room // 2, room // 2 + room % 2
        return [shorter, longer] if lengths[0] <= lengths[1] else [longer, shorter]
    index = 0 if strategy == "only_first" else 1
    if index >= len(lengths):
        raise ValueError('truncation="only_second" needs pairs; this text has no second part')
    if lengths[index] < excess:
        raise ValueError(
            f'truncation="{strategy}" would have to remove {excess} tokens, and that text has only {lengths[index]}; '
            'use "longest_first"'
        )
    return [n - excess if i == index else n for i, n in enumerate(lengths)]


def _tokenizer_of(where: str) -> AbstractContextManager[None]:
    return library(where, "its tokenizer cannot encode this text")


def _cut(
    backend: Backend,
    where: str,
    item: Any,
    strategy: str,
    limit: int,
    stride: int,
    special: bool,
    split: bool,
    side: str,
) -> list[Encoding]:
    first, second = item if is_pair(item, split) else (item, None)
    parts = [p for p in (first, second) if p is not None]
    encodings = encode(backend, where, parts, False, split)
    room = limit - (backend.num_special_tokens_to_add(second is not None) if special else 0)
    if room < 0:
        raise ValueError(f"max_length={limit} leaves no room for the special tokens")
    lengths = truncated_lengths([len(e) for e in encodings], strategy, room)
    for encoding, length in zip(encodings, lengths, strict=True):
        if length < len(encoding):
            if stride >= max(length, 1):
                raise ValueError(f"stride={stride} must be less than the {length} tokens of a window's text")
            encoding.truncate(length, stride=stride, direction=side)
    # Each window is put together by itself: in those that come with the first one, tokens have the wrong types.
    windows = [[e, *e.overflowing] for e in encodings]
    for sequence, own in enumerate(windows):
        if sequence and len(own) == 1:
            # What was never cut remains a first text as well, whatever else it is told; cutting off a token helps.
            own[0].pad(len(own[0]) + 1)
            own[0].truncate(len(own[0]) - 1)
        for window in own:
            window.set_sequence_id(sequence)
    pairs: list[tuple[Encoding, Encoding | None]] = [(window, None) for window in windows[0]]
    if second is not None:
        pairs = [(windows[0][i], windows[1][j]) for i, j in _pairs_of_windows(len(windows[0]), len(windows[1]))]
    with _tokenizer_of(where):
        process = _untrimmed(backend)
        return [process(one, other, special) for one, other in pairs]


def _untrimmed(backend: Backend) -> Any:
    """What puts special tokens around a window, but does not trim offsets, as byte-level tokenizers' does.

    The parts were trimmed of their spaces when they were encoded; the next time takes a letter off each word.
    """
    processor = backend.post_processor
    if processor is None:
        return backend.post_process
    from tokenizers import processors

    state = processor.__getstate__()
    untrimmed = processors.ByteLevel()  # of any kind: its state says what it is
    untrimmed.__setstate__(state.replace(b'"trim_offsets":true', b'"trim_offsets":false'))
    return untrimmed.process


def _pairs_of_windows(first: int, second: int) -> list[tuple[int, int]]:
    """All pairs of the windows of two texts, in the order of the `tokenizers` library."""
    rest = [(i, j) for i in range(1, first) for j in range(second)]
    return [(0, 0), *rest, *((0, j) for j in range(1, second))]
