"""What people train on: texts, and labels of texts or of their words, out of files or out of Python's own objects.

All of it is read and checked before anything is computed, and all that is wrong is told at once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidistil._options import is_iterable, refuse_table
from minidistil.backends.learning import Task
from minidistil.records.record import Faults, Record
from minidistil.records.sources import Source
from minidistil.weights.errors import listing

_FEWEST = 2  # labels: with one there is nothing to tell apart


class Example(NamedTuple):
    """A text, its label (for tokens: words, and a label of each; for masked words: None), and where it is from."""

    text: Any
    label: Any
    place: str


class Survey(NamedTuple):
    """What is known of data once they were read.

    examples: how many. names: of the labels, in order. digest: of texts and labels. counts: examples (for tokens:
    words) of each label.
    """

    examples: int
    names: tuple[str, ...]
    digest: str
    counts: tuple[int, ...]


class Data:
    """Examples that can be read any number of times.

    Args:
        given: a path (lines of text, .csv, .tsv, .jsonl, .arrow, .parquet; or `example:NAME`), or an iterable of texts,
            of (text, label), or of dictionaries.
        task: as `Settings.task`.
        text, label: columns, or keys of dictionaries.
        unlabelled: whether examples may be without labels.

    Raises:
        TypeError: something else.
    """

    def __init__(self, given: Any, task: Task, text: str = "text", label: str = "label", *, unlabelled: bool = False):
        self.task, self._text, self._label, self._unlabelled = task, text, label, unlabelled
        refuse_table("data", given)
        self._path = os.fspath(given) if isinstance(given, (str, os.PathLike)) else None
        if self._path == "-":
            raise TypeError("data are read more than once: give a file, not standard input")
        if self._path is None and (isinstance(given, Mapping) or not is_iterable(given)):
            raise TypeError(f"data must be a path or an iterable of examples, got {type(given).__name__}")
        # What can be read only once is kept.
        self._given: Any = given if self._path is not None or iter(given) is not given else list(given)

    @property
    def name(self) -> str:
        """What messages and the model's card call it."""
        return "data" if self._path is None else Path(self._path).name

    def __iter__(self) -> Iterator[Example]:
        """The examples; a label as it is there (RecordError for a file that cannot be read)."""
        return self._of_objects() if self._path is None else self._of_a_file(self._path)

    def survey(
        self, labels: Sequence[str] | None = None, *, usual: Sequence[str] = (), complete: bool = True
    ) -> Survey:
        """Read everything once.

        Args:
            labels: the labels' names in order; None for those that occur, sorted.
            usual: names that a model has already; they are taken where all of them occur, and no others.
            complete: whether there must be examples of each label.

        Raises:
            ValueError: all that is wrong; or there are no examples, one label only, or a label without examples.
        """
        if isinstance(labels, str):
            raise TypeError("labels must be a list of names, got one str")
        faults, counted, count = Faults(), dict[Any, list[Any]](), 0
        digest = hashlib.blake2b(digest_size=16)
        names = None if labels is None else tuple(map(str, labels))
        known = None if names is None else _known(names)
        for example in self:
            count += 1
            wrong = self._fault(example)
            if wrong:
                faults.add([f"{example.place}: {wrong}"])
                continue
            digest.update(json.dumps([example.text, _plain(example.label)], ensure_ascii=True).encode() + b"\n")
            for label in self._labels_of(example):
                if known is not None and _key(label) not in known:
                    faults.add([f"{example.place}: label {label!r} is none of {_told(names or ())}"])
                    continue
                found = counted.setdefault(_key(label), [label, 0])
                found[1] += 1
        faults.tell()
        if not count:
            raise ValueError(f"{self.name}: there are no examples in it")
        if self.task == "masked_lm" or (self._unlabelled and not counted):
            return Survey(count, names or (), digest.hexdigest(), ())
        if names is None and usual and {_known(tuple(usual)).get(key) for key in counted} == set(range(len(usual))):
            names, known = tuple(usual), _known(tuple(usual))
        if names is None:
            values = sorted((value for value, _ in counted.values()), key=_order)
            names = _names(values)
            known = {_key(value): i for i, value in enumerate(values)}
        assert known is not None
        counts = [0] * len(names)
        for key, (_, times) in counted.items():
            counts[known[key]] += times
        if complete:
            self._check_labels(names, counts)
        return Survey(count, names, digest.hexdigest(), tuple(counts))

    def numbers(self, names: Sequence[str]) -> Any:
        """Return a function from an example to its label's number, -1 for none; for tokens to a list of them."""
        known = _known(tuple(names))

        def number(label: Any) -> int:
            return -1 if label is None else known[_key(label)]

        if self.task == "token_classification":
            return lambda example: [number(label) for label in example.label or [None] * len(example.text)]
        return lambda example: number(example.label)

    def _check_labels(self, names: tuple[str, ...], counts: Sequence[int]) -> None:
        if len(names) < _FEWEST:
            raise ValueError(
                f"{self.name}: there is one label only, {_told(names)}; to learn to tell texts apart takes two or more"
            )
        missing = [name for name, n in zip(names, counts, strict=True) if not n]
        if missing:
            raise ValueError(
                f"{self.name}: no example has the label {listing(missing)}; the labels are {_told(names)}: "
                "leave it out of labels, or give examples of it"
            )

    def _labels_of(self, example: Example) -> Iterable[Any]:
        if self.task == "token_classification":
            return [label for label in example.label or () if label is not None]
        return () if example.label is None or self.task == "masked_lm" else (example.label,)

    def _fault(self, example: Example) -> str:
        """What is wrong with an example, "" for nothing."""
        text, label = example.text, example.label
        if self.task == "token_classification":
            if not isinstance(text, (list, tuple)) or not all(isinstance(word, str) for word in text):
                return f"{self._text} must be a list of words, got {_shown(text)}"
            if not text:
                return "there are no words"
            if label is None and self._unlabelled:
                return ""
            if not isinstance(label, (list, tuple)) or len(label) != len(text):
                found = f"{len(label)}" if isinstance(label, (list, tuple)) else _shown(label)
                return f"{self._label} must be a list of as many labels as words, {len(text)}, got {found}"
            return next((f"{one!r} is no label: a str or a whole number is" for one in label if not _is_label(one)), "")
        if not isinstance(text, str):
            return f"{self._text} must be text, got {_shown(text)}"
        try:
            text.encode()
        except UnicodeEncodeError:
            return "has half of a surrogate pair, which is no character"
        if self.task == "masked_lm" or (label is None and self._unlabelled):
            return ""
        if label is None:
            return f"there is no {self._label}"
        return "" if _is_label(label) else f"{_shown(label)} is no label: a str or a whole number is"

    def _of_objects(self) -> Iterator[Example]:
        labelled = self.task != "masked_lm"
        for i, item in enumerate(self._given):
            place = f"data[{i}]"
            if isinstance(item, Mapping):
                yield Example(item.get(self._text), item.get(self._label) if labelled else None, place)
            elif labelled and isinstance(item, (list, tuple)) and len(item) == 2 and not self._is_words(item):
                yield Example(item[0], item[1], place)
            else:
                yield Example(item, None, place)

    def _is_words(self, item: Sequence[Any]) -> bool:
        """Whether what has two parts is a list of two words without labels."""
        return self.task == "token_classification" and all(isinstance(part, str) for part in item)

    def _of_a_file(self, path: str) -> Iterator[Example]:
        labelled = self.task != "masked_lm"
        form = Source(path, (), None, "utf-8", (self._text,)).form
        if labelled and form == "text" and not self._unlabelled:
            raise ValueError(
                f"{path}: lines of text have no labels: give .csv, .tsv, .jsonl, .arrow or .parquet with columns "
                f"{self._text} and {self._label}"
            )
        words = self.task == "token_classification"
        if words and form in ("text", "csv", "tsv"):
            raise ValueError(f"{path}: lists of words take .jsonl, .arrow or .parquet")
        needed = self._label if labelled and not self._unlabelled and form != "text" else None
        columns = () if words else (self._text,)
        source = Source(path, (), None, "utf-8", columns, labels=needed)
        source.scan  # noqa: B018 (all that is wrong with the file is told)
        for record in source.records():
            if record is not None:
                yield self._of_a_record(record, labelled)

    def _of_a_record(self, record: Record, labelled: bool) -> Example:
        values = record.values
        return Example(values.get(self._text), values.get(self._label) if labelled else None, record.place)


def read_labelled(
    data: Any,
    text: str = "text",
    label: str = "label",
    labels: Sequence[str] | None = None,
    *,
    complete: bool = True,
) -> tuple[list[str], np.ndarray, tuple[str, ...]]:
    """Read texts with labels into memory.

    Args:
        data: as for `fine_tune`.
        text, label: columns.
        labels: names in order; None for those that occur, sorted.
        complete: whether there must be examples of each label.

    Returns:
        The texts, their labels' numbers int32 [B], and the labels' names.

    Raises:
        TypeError, ValueError: all that is wrong with the data, with its places.
    """
    source = Data(data, "sequence_classification", text, label)
    names = source.survey(labels, complete=complete).names
    number = source.numbers(names)
    texts, numbers = [], []
    for example in source:
        texts.append(example.text)
        numbers.append(number(example))
    return texts, np.array(numbers, np.int32), names


def _is_label(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, np.integer, np.bool_))


def _key(label: Any) -> str:
    """What makes two labels the same: 1 and "1" are."""
    return str(_plain(label))


def _plain(label: Any) -> Any:
    if isinstance(label, (list, tuple)):
        return [_plain(one) for one in label]
    return label.item() if isinstance(label, np.generic) else label


def _names(values: Sequence[Any]) -> tuple[str, ...]:
    """What labels are called that nobody named: numbers as transformers calls them."""
    keys = tuple(map(_key, values))
    counted = tuple(map(str, range(len(keys))))
    return tuple(f"LABEL_{key}" for key in keys) if keys == counted else keys


def _known(names: tuple[str, ...]) -> dict[str, int]:
    """What is taken for each label: its name; its number, where that is nobody's name."""
    known = {name: i for i, name in enumerate(names)}
    if len(known) < len(names):
        raise ValueError(f"labels must be different from one another, got {_told(names)}")
    return {**{str(i): i for i in range(len(names))}, **known}


def _order(label: Any) -> tuple[int, Any]:
    plain = _plain(label)
    number = isinstance(plain, int) or (isinstance(plain, str) and plain.lstrip("-").isdigit())
    return (0, int(plain)) if number else (1, str(plain))


def _told(names: Iterable[str]) -> str:
    return listing(names)


def _shown(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
