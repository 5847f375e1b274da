"""The texts that a model is calibrated and judged with, and their tokens."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from minidistil._options import is_iterable, refuse_table
from minidistil.backends.batch import PackedBatch
from minidistil.models.inputs import pack_sentences
from minidistil.records.lines import display_name
from minidistil.records.record import Faults
from minidistil.records.sources import Source
from minidistil.tokenization import Tokenizer, input_limit
from minidistil.weights.config import Config

EXAMPLE = "example:reviews"
"""Texts that the package brings: what a model is judged with where nobody gave any."""

Item = TypeVar("Item")


class Texts(NamedTuple):
    """Some of the texts that were given, evenly taken.

    Attributes:
        name: of what they are out of.
        texts: those taken.
        of: how many there were.
    """

    name: str
    texts: list[str]
    of: int

    def some(self, most: int) -> Texts:
        """At most so many of these."""
        return self._replace(texts=evenly(self.texts, most))


def read_texts(given: Any, column: str, most: int) -> Texts:
    """Read texts.

    Args:
        given: a path (lines of text, .csv, .tsv, .jsonl, .arrow, .parquet; or `example:NAME`), or an iterable of texts.
        column: of a table.
        most: how many are taken, evenly.

    Raises:
        TypeError: something else.
        ValueError: all that is wrong with them; or there are none.
    """
    refuse_table("texts", given)
    if isinstance(given, (str, os.PathLike)):
        file = os.fspath(given)
        if file == "-":
            raise TypeError("texts are read more than once: give a file, not standard input")
        name = display_name(file)
        found = _of_a_file(file, column)
    elif isinstance(given, Mapping) or not is_iterable(given):
        raise TypeError(f"texts must be a path or an iterable of str, got {type(given).__name__}")
    else:
        name, found = "texts", list(given)
    faults = Faults()
    for i, text in enumerate(found):
        faults.add([f"{name}[{i}] must be text, got {type(text).__name__}"] if not isinstance(text, str) else [])
    faults.tell()
    found = [text for text in found if text.strip()]
    if not found:
        raise ValueError(f"{name}: there are no texts in it")
    return Texts(name, evenly(found, most), len(found))


def tokens_of(texts: Sequence[str], tokenizer: Tokenizer, config: Config, longest: int) -> list[PackedBatch]:
    """The texts as a backend takes them, cut to so many tokens, in batches that are small enough to be kept."""
    limit = min(input_limit(tokenizer, config.longest_sentence), longest)
    batches = []
    for first in range(0, len(texts), _AT_A_TIME):
        windows = tokenizer.encode_windows(list(texts[first : first + _AT_A_TIME]), limit)
        encodings = [parts[0] for parts in windows]
        types = tokenizer.token_types(encodings, config.type_vocab_size)
        batches.append(pack_sentences(config, [one.ids for one in encodings], types, "text {}"))
    return batches


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of the items, in their order."""
    count = min(most, len(items))
    return [items[i * len(items) // count] for i in range(count)]


_AT_A_TIME = 8


def _of_a_file(file: str, column: str) -> list[Any]:
    source = Source(file, (), None, "utf-8", (column,))
    if source.scan.records == 0:  # all that is wrong with it is told here
        return []
    return [text for record in source.records() if record is not None and (text := record.values[column]) is not None]
