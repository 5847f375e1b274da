"""Texts as token ids, made once and kept on the disk in a form that is mapped into memory.

Legend: `B` examples, `T` their tokens, one after another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


class Examples:
    """Examples of a task, tokenized.

    Attributes:
        ids: int32 [T], of the file, read-only.
        offsets: int64 [B + 1]; example i is ids[offsets[i] : offsets[i + 1]], special tokens included.
        labels: int32 [B] for sequence classification; int32 [T] for token classification, -1 where there is none; None
            for masked words.
        label_names: the labels' names, by number; none for masked words.
        digest: of what they were made of: texts, labels, tokenizer and length.
        truncated: texts that were too long and were cut.
    """

    ids: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray | None
    label_names: tuple[str, ...]
    digest: str
    truncated: int

    @classmethod
    def open(cls, path: Path) -> Examples:
        """Map a finished file (ValueError where it is damaged)."""
        raise NotImplementedError

    def __len__(self) -> int:
        """B."""
        raise NotImplementedError

    @property
    def lengths(self) -> np.ndarray:
        """int64 [B], in tokens."""
        raise NotImplementedError

    def sentence(self, i: int) -> np.ndarray:
        """int32 [n], tokens of example i."""
        raise NotImplementedError


def make_examples(
    data: Any,
    path: Path,
    *,
    tokenizer: Any,
    task: str,
    max_length: int,
    pieces: bool = False,
    text: str = "text",
    label: str = "label",
    labels: tuple[str, ...] | None = None,
    show_progress: bool = False,
) -> Examples:
    """Read data, check all of them, and tokenize them into a file, unless it is there already.

    Args:
        data: a path (lines of text, .csv, .tsv, .jsonl, .arrow, .parquet), or an iterable of texts, of (text, label),
            or of dictionaries. For token classification a text is a list of words, and its label a list of theirs.
        path: where the file lies or is to lie.
        tokenizer: the model's.
        task: as `Settings.task`.
        max_length: in tokens, special ones included.
        pieces: whether what is cut off longer texts becomes examples too.
        text, label: columns.
        labels: names of the labels in order, which the data then keep to; None for those that occur, sorted.
        show_progress: show a bar on standard error.

    Raises:
        TypeError, ValueError: all that is wrong with the data, with its places.
        OSError: the file cannot be written.
    """
    raise NotImplementedError
