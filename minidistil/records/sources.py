"""Records from lines of text, CSV, JSON lines, Arrow and Parquet: the same for every command.

A file is read from end to end before anything is computed, and all that is wrong with it is told at once. Of a stream,
which can be read only once, it is told when it comes.
"""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from minidistil.records.errors import RecordError
from minidistil.records.lines import (
    STANDARD_INPUT,
    Lines,
    batches,
    count_lines,
    display_name,
    is_stream,
    path_of,
    read_lines,
)
from minidistil.records.record import Fault, Faults, Record, Scan, hashable, unlike

if TYPE_CHECKING:
    from minidistil.sentences.tables import TableFile

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
KINDS = ("text", *dict.fromkeys(FORMATS.values()))
TYPED = ("arrow", "parquet")  # their columns have types
FLAT = ("csv", "tsv")  # have no lists
_SCHEMA_ROWS = 1024  # lines of JSON whose types are looked at together


@dataclass(frozen=True)
class Source:
    """Where records come from: a file or standard input, or texts of the command line.

    Attributes:
        file: its name, `-` for standard input.
        texts: of the command line, in place of a file.
        kind: one of `KINDS`, None to go by the file's name.
        encoding: of files of text.
        columns: that hold texts; in lines of text there is one.
        labels: another column that must be there, whatever it holds.
        blank: whether blank lines of text are records.
        typed: whether the columns' types are wanted, for Arrow and Parquet.
        alike: whether all records must have the same columns, for CSV.
        shard: i and n: the i-th of n parts, from 1.
    """

    file: str
    texts: tuple[str, ...]
    kind: str | None
    encoding: str
    columns: tuple[str, ...]
    labels: str | None = None
    blank: bool = False
    typed: bool = False
    alike: bool = False
    shard: tuple[int, int] | None = None

    @cached_property
    def form(self) -> str:
        """What it is, one of `KINDS`."""
        return "text" if self.texts else self.kind or FORMATS.get(path_of(self.file).suffix.lower(), "text")

    @cached_property
    def scan(self) -> Scan:
        """What it holds, or its shard of that.

        Raises:
            RecordError: it is missing, or all that is wrong with it, shard or not.
        """
        start, stop = self._part
        return self._whole if stop is None else self._whole._replace(records=stop - start)

    def batches(self, size: int) -> Iterator[list[Record]]:
        """The records, as many at once as are there, at most `size`."""
        return batches(self.records(), size)

    def records(self) -> Iterator[Record | None]:
        """The records, and None where the next one is waited for; a text is a str, or None where a table has none."""
        start, stop = self._part
        if self.form in TYPED:
            found: Iterator[Record | Fault | None] = self._of_a_table_file(start, stop)
        elif stop is None:
            found = self._items()
        else:  # of a file, which nobody waits for
            found = itertools.islice(self._items(), start, stop)
        for item in found:
            if isinstance(item, Fault):
                raise RecordError(item.what)
            yield item

    @cached_property
    def _part(self) -> tuple[int, int | None]:
        """Where the shard begins and ends: neighbours share a place, so that all shards together are the whole."""
        if self.shard is None:
            return 0, None
        records = self._whole.records
        if records is None:
            raise RecordError("--shard takes a file: how many records a stream has cannot be known")
        i, n = self.shard
        return records * (i - 1) // n, records * i // n

    @cached_property
    def _whole(self) -> Scan:
        if self.form == "text" and (len(self.columns) > 1 or self.labels is not None):
            names = " and ".join([*self.columns, *([] if self.labels is None else [self.labels])])
            raise RecordError(
                f"{display_name(self.file)}: columns {names} take CSV, JSON lines, Arrow or Parquet; "
                "--format says which of them this is"
            )
        if self.texts:
            return Scan(len(self.texts), self.columns, self._schema_of_texts(self.columns))
        if is_stream(self.file):
            return Scan(None, None, self._schema_of_a_stream())
        lines = count_lines(self.file)  # names a file that is missing, or a folder
        if self.form == "text":
            count = sum(1 for _ in self._items()) if self.shard and not self.blank else lines
            return Scan(count, self.columns, self._schema_of_texts(self.columns))
        return self._scan_of_typed() if self.form in TYPED else self._scan_of_items()

    @cached_property
    def _table(self) -> TableFile:
        from minidistil.sentences.tables import TableFile

        if self.file == STANDARD_INPUT and self.form == "arrow":
            return TableFile(sys.stdin.buffer, self.form, display_name(self.file))
        if is_stream(self.file):
            raise RecordError(f"{display_name(self.file)}: {self.form} cannot be read from a stream: give a file")
        return TableFile(path_of(self.file), self.form, self.file)

    def _items(self) -> Iterator[Record | Fault | None]:
        if self.texts:
            return (Record("", {self.columns[0]: text}) for text in self.texts)
        if self.form == "text":
            return self._of_lines()
        if self.form == "jsonl":
            return self._of_json()
        return self._of_rows("," if self.form == "csv" else "\t")

    def _of_lines(self) -> Iterator[Record | None]:
        for line in Lines(self.file, self.encoding).as_they_come():
            if line is None:
                yield None
            elif self.blank or line[1].strip():
                yield Record(self._place(line[0]), {self.columns[0]: line[1]}, line[0])

    def _of_rows(self, delimiter: str) -> Iterator[Record | Fault | None]:
        lines = Lines(self.file, self.encoding)
        reader = csv.reader((f"{text}\n" for _, text in lines), delimiter=delimiter, strict=True)
        try:
            header = next(reader, [])
            missing = self._missing(header, 1)
            if missing:
                yield missing
                return
            if len(set(header)) < len(header):
                yield Fault(f"{self._place(1)}: two columns have the same name: {', '.join(header)}")
                return
            while True:
                if lines.wait():
                    yield None
                row = next(reader, None)
                if row is None:
                    return
                if not row:
                    continue
                place = self._place(reader.line_num)
                if len(row) == len(header):
                    yield Record(place, dict(zip(header, row, strict=True)), reader.line_num)
                else:
                    yield Fault(f"{place}: {len(row)} cells, and the header has {len(header)}")
        except csv.Error as error:
            yield Fault(f"{self._place(reader.line_num)}: {error}")

    def _of_json(self) -> Iterator[Record | Fault | None]:
        for numbered in Lines(self.file, self.encoding).as_they_come():
            if numbered is None:
                yield None
                continue
            number, line = numbered
            if not line.strip():
                continue
            place = self._place(number)
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield Fault(f"{place}: not a line of JSON: {error}")
                continue
            if not isinstance(values, dict):
                yield Fault(f"{place}: not an object, but {type(values).__name__}")
                continue
            wrong = [c for c in self.columns if c in values and not isinstance(values[c], (str, type(None)))]
            missing = self._missing(values, number)
            if missing:
                yield missing
            elif wrong:
                yield Fault("\n".join(f"{place}: {c} is no text, but {type(values[c]).__name__}" for c in wrong))
            else:
                yield Record(place, values, number)

    def _of_a_table_file(self, start: int, stop: int | None) -> Iterator[Record | Fault]:
        from minidistil.sentences.tables import TableRow

        self._check_table()
        row = start
        for batch in self._table.batches(start, stop):
            for i in range(batch.num_rows):
                row += 1
                yield Record(self._place(row), TableRow(batch, i), row)

    def _scan_of_items(self) -> Scan:
        columns: dict[str, None] = {}
        labels: dict[Any, str] = {}
        without, count, schema, faults = None, 0, None, Faults()
        header: Iterable[str] = self._header() if self.form != "jsonl" else ()
        for chunk in batches(self._items(), _SCHEMA_ROWS):
            records = [item for item in chunk if isinstance(item, Record)]
            faults.add(item.what for item in chunk if isinstance(item, Fault))
            count += len(records)
            for record in records:
                if self.form == "jsonl":
                    if self.alike and columns and list(record.values) != list(columns):
                        faults.add([unlike(record, columns)])
                        continue
                    columns.update(dict.fromkeys(record.values))
                    if without is None and any(record.values[column] is None for column in self.columns):
                        without = record.place
                if self.labels is not None:
                    labels.setdefault(hashable(record.values[self.labels]), record.place)
            if self.typed and self.form == "jsonl":
                try:
                    schema = self._wider(schema, records)
                except ValueError as error:
                    faults.add([f"{self.file}: {error}: write .jsonl"])
        faults.tell()
        names = tuple(columns or header)
        if self.typed and schema is None:
            schema = self._schema_of_texts(names)
        return Scan(count, names, schema, without, labels)

    def _scan_of_typed(self) -> Scan:
        from minidistil.sentences.columns import not_decoded

        schema, faults = self._check_table(), Faults()
        wanted = list(dict.fromkeys([*self.columns, *([] if self.labels is None else [self.labels])]))
        labels: dict[Any, str] = {}
        without, count = None, 0
        for batch in self._table.batches(columns=wanted):
            for column in self.columns:
                for row, what in not_decoded(batch, column):
                    faults.add([f"{self._place(count + row + 1)}: {column}: {what}"])
                values = batch.column(column)
                if without is None and values.null_count:
                    first = next(i for i, value in enumerate(values) if not value.is_valid)
                    without = self._place(count + first + 1)
            if self.labels is not None:
                for i, value in enumerate(batch.column(self.labels).to_pylist()):
                    labels.setdefault(hashable(value), self._place(count + i + 1))
            count += batch.num_rows
        faults.tell()
        return Scan(count, tuple(schema.names), schema, without, labels)

    def _check_table(self) -> Any:
        """The schema of an Arrow or Parquet file that has the columns."""
        from minidistil.sentences.columns import check_columns

        schema = self._table.schema
        faults = check_columns(schema, self.columns)
        if self.labels is not None and self.labels not in schema.names:
            faults.append(f"no column {self.labels!r} among {', '.join(schema.names)}")
        if faults:
            raise RecordError("\n".join(f"{display_name(self.file)}: {fault}" for fault in faults))
        return schema

    def _header(self) -> list[str]:
        lines = (f"{text}\n" for _, text in read_lines(self.file, self.encoding))
        try:
            return next(csv.reader(lines, delimiter="," if self.form == "csv" else "\t", strict=True), [])
        except csv.Error:
            return []  # the records' own reading tells

    def _missing(self, found: Iterable[str], number: int) -> Fault | None:
        wanted = [*self.columns, *([] if self.labels is None else [self.labels])]
        missing = [column for column in wanted if column not in found]
        if not missing:
            return None
        return Fault(
            f"{self._place(number)}: no {' and no '.join(missing)} among the columns {', '.join(found) or '(none)'}"
        )

    def _schema_of_texts(self, columns: Sequence[str]) -> Any:
        """Of columns that all hold text."""
        if not self.typed:
            return None
        from minidistil.sentences.columns import import_pyarrow

        arrow = import_pyarrow()
        return arrow.schema([(name, arrow.string()) for name in columns])

    def _schema_of_a_stream(self) -> Any:
        if self.form == "text":
            return self._schema_of_texts(self.columns)
        return self._check_table() if self.form in TYPED else None

    def _wider(self, schema: Any, records: Sequence[Record]) -> Any:
        from minidistil.sentences.tables import common_schema, schema_of

        own = schema_of([record.values for record in records])
        return own if schema is None else common_schema([schema, own])

    def _place(self, number: int) -> str:
        return f"{display_name(self.file)}:{number}"
