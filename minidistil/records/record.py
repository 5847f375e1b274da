"""A record, what is known of all of them, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from minidistil.records.errors import RecordError

_MOST_FAULTS = 20  # that are told; more are counted
_END = object()


class Record(NamedTuple):
    """A line of text or of JSON, a row of a table: where it is from, and what it holds by column."""

    place: str
    values: Mapping[str, Any]
    line: int = 0


class Scan(NamedTuple):
    """What is known of a source before its records are read.

    Attributes:
        records: how many there are, None where that cannot be known.
        columns: all that occur, None where they cannot be known.
        schema: Arrow's, where it was asked for and can be known.
        without: the place of the first record without a text, None where each has one.
        labels: the values of the column of labels, and where each stands first.
    """

    records: int | None
    columns: tuple[str, ...] | None = None
    schema: Any = None
    without: str | None = None
    labels: Mapping[Any, str] = {}


class Fault(NamedTuple):
    """What is wrong at a place."""

    what: str


def peek(records: Iterator[Record | None], count: int) -> list[Record]:
    """Take `count` records from their beginning, or fewer: those that are there when others are waited for."""
    begun: list[Record] = []
    while len(begun) < count:
        record = next(records, _END)
        if record is _END or (record is None and begun):
            break
        if isinstance(record, Record):
            begun.append(record)
    return begun


def hashable(value: Any) -> Any:
    """Return a value to count by: itself, or its text where it is neither text nor a number."""
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def unlike(record: Record, columns: Iterable[str]) -> str:
    """What is said of a record that CSV cannot hold beside those with these columns."""
    return (
        f"{record.place}: columns {', '.join(record.values)}, and the records before it have {', '.join(columns)}; "
        "CSV takes the same ones throughout: write .jsonl"
    )


class Faults:
    """What is wrong with a file: the first ones, and how many there are."""

    def __init__(self) -> None:
        self._told: list[str] = []
        self._count = 0

    def add(self, faults: Iterable[str]) -> None:
        """Note more of them."""
        for fault in faults:
            self._count += 1
            if self._count <= _MOST_FAULTS:
                self._told.append(fault)

    def tell(self) -> None:
        """Tell them, where there are any (RecordError)."""
        more = self._count - len(self._told)
        if self._told:
            raise RecordError("\n".join([*self._told, *([f"and {more:,} more"] if more else [])]))
