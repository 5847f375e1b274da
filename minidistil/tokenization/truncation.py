"""What becomes of texts that are too long: never cut without a word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minidistil._warn import warn_caller

if TYPE_CHECKING:
    from minidistil.tokenization.tokenizer import Tokenizer


class TruncationWarning(UserWarning):
    """Some texts were longer than the model takes and were cut; `count` says how many."""

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


def input_limit(tokenizer: Tokenizer, positions: int) -> int:
    """Return the longest input in tokens that both a tokenizer and a position table of `positions` rows allow."""
    return min(tokenizer.model_max_length, positions)


def check_truncation(value: Any) -> None:
    """Refuse a `truncation` setting that pipelines and encode() do not have."""
    if value not in ("error", "warn", True, False):
        raise ValueError(f'truncation must be "error", "warn", True or False, got {value!r}')


def refuse_truncation(cut: Sequence[int], limit: int, first: int = 0) -> None:
    """Raise for texts that are too long, where any are.

    Args:
        cut: indices of the texts.
        limit: in tokens.
        first: what to add to the indices in the message.

    Raises:
        ValueError: `cut` is not empty.
    """
    if not cut:
        return
    shown = ", ".join(str(first + i) for i in cut[:10]) + (", ..." if len(cut) > 10 else "")
    raise ValueError(
        f"{len(cut)} of the texts (index {shown}) are longer than {limit} tokens; shorten them, or pass "
        'truncation="warn" or True to use their beginnings'
    )


def warn_of_truncation(count: int, total: int, limit: int) -> None:
    """Issue one `TruncationWarning` for a call, where `count` is not 0."""
    if count:
        message = (
            f"{count} of {total} texts are longer than {limit} tokens; only their beginnings were used "
            '(truncation="error" refuses them, truncation=True does not warn)'
        )
        warn_caller(TruncationWarning(message, count))


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
