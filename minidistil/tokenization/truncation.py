"""What becomes of texts that are too long: never cut without a word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minidistil._options import is_one_of
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
    if not is_one_of(value, ("error", "warn", True, False)):
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
