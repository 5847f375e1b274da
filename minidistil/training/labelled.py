"""Texts with labels, out of a file or of memory, all that is wrong with them told at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidistil._options import is_iterable, refuse_table
from minidistil.records.errors import RecordError
from minidistil.records.record import Faults, Record
from minidistil.records.sources import Source

_IN_MEMORY = "examples"  # what errors call those that come from no file


class Labelled(NamedTuple):
    """Texts and their labels.

    texts: B of them. numbers: int32 [B], of their labels. names: the labels' names, by number.
    """

    texts: list[str]
    numbers: np.ndarray
    names: tuple[str, ...]


def read_labelled(
    data: Any, *, text: str = "text", label: str = "label", labels: Sequence[str] | None = None
) -> Labelled:
    """Read texts with labels.

    Args:
        data: a path (.csv, .tsv, .jsonl, .arrow, .parquet; any other name is that of a text, whose lines are a label, a
            tab and what it is of), or an iterable of (text, label) or of dictionaries.
        text, label: columns, or keys.
        labels: names of the labels in order, which the data then keep to; None for those that occur, sorted.

    Raises:
        RecordError: a file that cannot be read, or all that is wrong with the texts or labels, with their places.
        TypeError: data that are neither a path nor an iterable.
    """
    texts, found, faults = list[str](), list[str](), Faults()
    known = None if labels is None else {str(name): i for i, name in enumerate(labels)}
    for place, content, value in _items(data, text, label, faults):
        if not isinstance(content, str):
            faults.add([f"{place}: {text} is {_kind(content)}, and a text is needed"])
        elif not content.strip():
            faults.add([f"{place}: {text} is empty"])
        elif not isinstance(value, (str, int)) or value == "":
            faults.add([f"{place}: {label} is {_kind(value)}, and a name or a whole number is needed"])
        elif known is not None and _name(value) not in known:
            faults.add([f"{place}: {label} is {value!r}; the labels are {', '.join(known)}"])
        else:
            texts.append(content)
            found.append(_name(value))
    faults.tell()
    names = sorted(set(found), key=_order) if known is None else list(known)
    if not texts:
        raise RecordError(f"{_called(data)}: there are no texts")
    number = {name: i for i, name in enumerate(names)}
    return Labelled(texts, np.array([number[name] for name in found], np.int32), tuple(names))


def _items(data: Any, text: str, label: str, faults: Faults) -> Iterator[tuple[str, Any, Any]]:
    """Where each example stands, its text and its label."""
    if isinstance(data, (str, os.PathLike)):
        yield from _of_a_file(os.fspath(data), text, label, faults)
        return
    refuse_table("data", data)
    if isinstance(data, Mapping) or not is_iterable(data):
        raise TypeError(f"data must be a path or an iterable of (text, label), got {type(data).__name__}")
    for i, item in enumerate(data):
        place = f"{_IN_MEMORY}[{i}]"
        if isinstance(item, Mapping):
            missing = [name for name in (text, label) if name not in item]
            if missing:
                faults.add([f"{place}: no {' and no '.join(missing)} among {', '.join(map(str, item)) or '(nothing)'}"])
            else:
                yield place, item[text], item[label]
        elif isinstance(item, (tuple, list)) and len(item) == 2:
            yield place, *item
        else:
            faults.add([f"{place}: it is {_kind(item)}, and (text, label) or a dictionary is needed"])


def _of_a_file(file: str, text: str, label: str, faults: Faults) -> Iterator[tuple[str, Any, Any]]:
    lines = Source(file, (), None, "utf-8", (text,))
    if lines.form == "text":
        for record in _read(lines):
            value, tab, content = record.values[text].partition("\t")
            if tab:
                yield record.place, content, value.strip()
            else:
                faults.add([f"{record.place}: no tab; a line is a label, a tab and a text"])
        return
    source = Source(file, (), None, "utf-8", (text,), labels=label)
    _ = source.scan  # tells all faults of the file
    for record in _read(source):
        yield record.place, record.values[text], record.values[label]


def _read(source: Source) -> Iterator[Record]:
    records: Iterable[Record | None] = source.records()
    return (record for record in records if record is not None)


def _called(data: Any) -> str:
    return os.fspath(data) if isinstance(data, (str, os.PathLike)) else _IN_MEMORY


def _kind(value: Any) -> str:
    return "missing" if value is None or value == "" else f"{type(value).__name__} {value!r:.40}"


def _name(value: str | int) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _order(name: str) -> tuple[bool, int, str]:
    """Numbers by their values, before names."""
    return not name.isdecimal(), int(name) if name.isdecimal() else 0, name
