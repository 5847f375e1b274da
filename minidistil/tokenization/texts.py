"""The texts that callers pass to a tokenizer, checked and brought into one form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidistil._options import is_iterable


def is_pair(item: Any, split: bool) -> bool:
    """Return whether an item of `read_texts` is a pair; `split` says that texts are lists of words."""
    if isinstance(item, str):
        return False
    return not split or (len(item) == 2 and all(isinstance(part, (list, tuple)) for part in item))


def read_texts(text: Any, pair: Any, split: bool) -> tuple[bool, list[Any]]:
    """Return whether a list of texts was given, and that list (else a list of one), pairs zipped.

    Args:
        text: str or a list of str; where `split`, a list of words or a list of such lists.
        pair: the second texts in the same form, or None.
        split: texts are lists of words.

    Raises:
        TypeError: something other than text; the message says where.
        ValueError: lists that do not match.
    """
    if split:
        _check_list(text, "text")
        batched = bool(text) and isinstance(text[0], (list, tuple))
    else:
        batched = isinstance(text, (list, tuple))
    texts = list(text) if batched else [text]
    pairs: list[Any] | None = None
    if pair is not None:
        if batched and (isinstance(pair, str) or not is_iterable(pair)):
            found = "one str" if isinstance(pair, str) else type(pair).__name__
            raise TypeError(f"text is a list, so text_pair must be a list of as many texts, got {found}")
        pairs = list(pair) if batched else [pair]
        if len(pairs) != len(texts):
            raise ValueError(f"text has {len(texts)} texts and text_pair {len(pairs)}; they must match one to one")
    for i, item in enumerate(texts):
        _check_text(item, f"text[{i}]" if batched else "text", split, pairs is None)
    if pairs is None:
        return batched, texts
    for i, item in enumerate(pairs):
        _check_text(item, f"text_pair[{i}]" if batched else "text_pair", split, False)
    # An empty second text means no pair, as in transformers.
    if not batched and not pairs[0]:
        return batched, texts
    return batched, list(zip(texts, pairs, strict=True))


def refuse_half_characters(text: Any) -> None:
    """Refuse a text, or one within lists of texts, that has half of a surrogate pair, and show where (UnicodeError)."""
    if not isinstance(text, str):
        for part in text:
            refuse_half_characters(part)
        return
    at = next((i for i, c in enumerate(text) if "\ud800" <= c <= "\udfff"), None)
    if at is not None:
        raise UnicodeError(
            f"a text has half of a surrogate pair, U+{ord(text[at]):04X}, as its character {at}, in "
            f"{text[max(0, at - 20) : at + 20]!r}: cut or decoded wrongly; to have a question mark in its place: "
            'text.encode("utf-8", "replace").decode()'
        )


def refuse_without_tokens(lengths: Sequence[int], first: int = 0) -> None:
    """Raise for texts of which the tokenizer made nothing, as one that adds no special tokens does of an empty text.

    Args:
        lengths: tokens of each text.
        first: what to add to the indices in the message.

    Raises:
        ValueError: a text has no tokens.
    """
    empty = [first + i for i, length in enumerate(lengths) if not length]
    if not empty:
        return
    shown = ", ".join(map(str, empty[:10])) + (", ..." if len(empty) > 10 else "")
    raise ValueError(
        f"{len(empty)} of the texts (index {shown}) have no tokens: the tokenizer finds none in them, and adds no "
        "special ones, so that the model has nothing to read; leave them out"
    )


def _check_list(value: Any, name: str) -> None:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"with is_split_into_words {name} must be a list of words, got {type(value).__name__}")


def _check_text(item: Any, name: str, split: bool, pair_allowed: bool) -> None:
    if split:
        _check_list(item, name)
        if all(isinstance(word, str) for word in item):
            return
        raise TypeError(f"{name} must be a list of words (str)")
    if isinstance(item, str):
        return
    if pair_allowed and isinstance(item, (list, tuple)) and len(item) == 2 and all(isinstance(p, str) for p in item):
        return
    raise TypeError(f"{name} must be a str, got {type(item).__name__}")
