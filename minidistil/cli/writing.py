"""Results beside what they came of: for people, as JSON lines, CSV, Arrow or Parquet.

A file is called NAME.partial until it is whole; see `growing`.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click

from minidistil.records.record import Record, Scan, unlike
from minidistil.records.sources import FLAT, FORMATS, TYPED
from minidistil.sentences.growing import Growing

_ARROW_TYPES = {str: "string", float: "float64", int: "int64"}
_PREFIXED = "--prefix puts something of yours before its name"


class Layout(NamedTuple):
    """What a command finds for a record.

    Attributes:
        columns: of what it finds, and their types: str, float or int.
        listed: the name of a list of such, where a record may have several; None where it has one.
        prefix: what is put before a name that the input has already.
    """

    columns: dict[str, type]
    listed: str | None = None
    prefix: str = "predicted_"

    def names(self, flat: bool) -> tuple[str, ...]:
        """What stands beside the input's columns; `flat` where there are no lists, as in CSV."""
        return tuple(self.columns) if flat or self.listed is None else (self.listed,)


@dataclass(frozen=True)
class Result:
    """What a command found for one record.

    Attributes:
        rows: a label, entity or answer each, by the columns of the layout; None where the record has no text.
        shown: for people.
    """

    rows: list[dict[str, Any]] | None
    shown: str


Answered = tuple[Record, Result]


@dataclass(frozen=True)
class Form:
    """How results are written.

    Attributes:
        layout: of what is found.
        output: the file to write, or None for standard output.
        as_json: print JSON lines there, rather than for people.
        prefix: before the names of what is found; None for the layout's own, where a name is taken.
        scan: of what is known of the records beforehand.
    """

    layout: Layout
    output: Path | None = None
    as_json: bool = False
    prefix: str | None = None
    scan: Scan | None = None

    @property
    def flat(self) -> bool:
        """Whether a row has no lists."""
        return output_kind(self.output) in FLAT

    def chosen(self, taken: Collection[str]) -> str:
        """Return the prefix beside these columns (click.ClickException where a name is taken all the same)."""
        names = self.layout.names(self.flat)
        prefix = self.prefix
        if prefix is None:
            prefix = self.layout.prefix if any(name in taken for name in names) else ""
        refuse_overwriting(taken, [prefix + name for name in names])
        return prefix


def print_results(answers: Iterable[list[Answered]], form: Form, first: Record | None) -> None:
    """Print records with what was found for each, chunk by chunk; `first` is the first of them, if any."""
    encoder = JsonLines(form, first) if form.as_json else None
    for chunk in answers:
        if encoder is not None:
            sys.stdout.write(encoder.encode(chunk).decode("utf-8", "surrogatepass"))
        else:
            for _, result in chunk:
                if result.shown:
                    click.echo(result.shown)
        sys.stdout.flush()


def write_at_once(answered: list[Answered], form: Form) -> None:
    """Write a few records and what was found for each to the output."""
    file = open_results(form, [record for record, _ in answered])
    try:
        file.append(answered)
        file.finish()
    except BaseException:
        file.abandon((0, 0))
        raise


def open_results(form: Form, begun: Sequence[Record], done: tuple[int, int] = (0, 0)) -> ResultFile:
    """Open the output; `begun` are the first records, `done` the results to keep and where they end."""
    assert form.output is not None
    first = begun[0] if begun else None
    kind = output_kind(form.output)
    if kind in TYPED:
        return ResultFile(form.output, _Table(form, begun), done)
    return ResultFile(form.output, JsonLines(form, first) if kind == "jsonl" else _Csv(form, first), done)


def output_kind(output: Path | None) -> str | None:
    """Return what to write, "csv", "jsonl" ..., by a file's name (click.UsageError where it does not say)."""
    kind = FORMATS.get(output.suffix.lower()) if output else None
    if output and kind is None:
        raise click.UsageError(
            f"{output}: its name must end in one of {', '.join(FORMATS)}, which says how to write it"
        )
    if kind in TYPED:
        from minidistil.sentences.columns import import_pyarrow

        import_pyarrow()  # its absence is told before anything is computed
    return kind


def refuse_overwriting(taken: Iterable[str], names: Iterable[str], place: str = "the input") -> None:
    """Refuse columns among which a result's name is (click.ClickException)."""
    both = [name for name in names if name in taken]
    if both:
        raise click.ClickException(
            f"{place} has the column {' and '.join(both)} already, where the result would go: {_PREFIXED}"
        )


class JsonLines:
    """A line of JSON per record."""

    def __init__(self, form: Form, first: Record | None) -> None:
        scan = form.scan or Scan(None)
        self.own = scan.columns if scan.columns is not None else tuple(first.values) if first else ()
        self.form, self.prefix = form, form.chosen(self.own)
        self.names = [self.prefix + name for name in form.layout.names(form.flat)]
        self.header = b""

    def encode(self, answered: Sequence[Answered]) -> bytes:
        """Return records and results as they stand in the file (click.ClickException where one has no place)."""
        from minidistil.sentences.rows import json_text

        lines = []
        for record, result in answered:
            refuse_overwriting(record.values, self.names, record.place or "the text")
            lines.append(json_text({**record.values, **self.fields(result)}) + "\n")
        return "".join(lines).encode("utf-8", "surrogatepass")

    def fields(self, result: Result) -> dict[str, Any]:
        """What was found, by name: a list, or the columns of the one row."""
        if self.form.layout.listed is not None:
            return {self.prefix + self.form.layout.listed: result.rows}
        row = result.rows[0] if result.rows else dict.fromkeys(self.form.layout.columns)
        return {self.prefix + name: value for name, value in row.items()}


class _Csv(JsonLines):
    """Rows of CSV: the record's columns, and the result's; a row for each of several."""

    def __init__(self, form: Form, first: Record | None) -> None:
        super().__init__(form, first)
        self._columns = list(first.values) if first else list(self.own)
        self.header = self._rows([[*self._columns, *self.names]])

    def encode(self, answered: Sequence[Answered]) -> bytes:
        from minidistil.sentences.rows import cell

        rows = []
        for record, result in answered:
            if list(record.values) != self._columns:
                raise click.ClickException(unlike(record, self._columns))
            own = [cell(name, value) for name, value in record.values.items()]
            found = [{}] if result.rows is None else result.rows
            rows += [[*own, *(row.get(column) for column in self.form.layout.columns)] for row in found]
        return self._rows(rows)

    def _rows(self, rows: Sequence[Sequence[Any]]) -> bytes:
        text = io.StringIO(newline="")
        dialect = "excel-tab" if output_kind(self.form.output) == "tsv" else "excel"
        csv.writer(text, dialect, lineterminator="\n").writerows(rows)
        return text.getvalue().encode("utf-8", "surrogatepass")


class _Table(JsonLines):
    """An Arrow or Parquet file: the record's columns with their types, and the result's."""

    def __init__(self, form: Form, begun: Sequence[Record]) -> None:
        from minidistil.sentences import tables
        from minidistil.sentences.columns import import_pyarrow

        super().__init__(form, begun[0] if begun else None)
        arrow = self._arrow = import_pyarrow()
        known = form.scan.schema if form.scan else None
        self._schema_of_records = tables.schema_of([record.values for record in begun]) if known is None else known
        layout = form.layout
        fields = [arrow.field(name, _arrow_type(kind)) for name, kind in layout.columns.items()]
        if layout.listed is not None:
            fields = [arrow.field(layout.listed, arrow.list_(arrow.struct(fields)))]
        self._fields = [field.with_name(self.prefix + field.name) for field in fields]
        self._schema = self._schema_of_records
        for field in self._fields:
            self._schema = self._schema.append(field)
        tables.check_kind(str(output_kind(form.output)), self._schema)
        self.header = tables.stream_header(self._schema)

    def encode(self, answered: Sequence[Answered]) -> bytes:
        from minidistil.sentences import tables

        if not answered:
            return b""
        for record, _ in answered:
            if not isinstance(record.values, tables.TableRow):
                self._check(record)
        kept = tables.record_batch([record.values for record, _ in answered], self._schema_of_records)
        found = [self.fields(result) for _, result in answered]
        columns = [self._arrow.array([row[field.name] for row in found], field.type) for field in self._fields]
        batch = self._arrow.RecordBatch.from_arrays([*kept.columns, *columns], schema=self._schema)
        return tables.stream_part(batch, self.header)

    def _check(self, record: Record) -> None:
        refuse_overwriting(record.values, self.names, record.place)
        others = [name for name in record.values if self._schema_of_records.get_field_index(name) < 0]
        if others:
            raise click.ClickException(
                f"{record.place}: column {' and '.join(others)}, which the records before it do not have; "
                "a table takes the same ones throughout: write .jsonl"
            )


class ResultFile(Growing):
    """Results beside what they came of, in a file that grows.

    Args:
        path: of it; its name says how to write.
        encoder: of records and results.
        done: results to keep, and where they end.
    """

    what = "results"

    def __init__(self, path: Path, encoder: JsonLines, done: tuple[int, int]) -> None:
        self._encoder = encoder
        super().__init__(path, done=done)

    def append(self, answered: Sequence[Answered]) -> bytes:
        """Write records and their results; returns what was written."""
        data = self._encoder.encode(answered)
        self.extend(data, len(answered))
        return data

    def finish(self) -> None:
        """Give the file its name, when all of it is on the disk."""
        kind = output_kind(self.path)
        if kind not in TYPED:
            super().finish()
            return
        from minidistil.sentences import tables

        self._close()
        tables.finish(self.partial, self.path, kind)

    def _header(self, rows: int) -> bytes:
        return self._encoder.header

    def _compare_header(self) -> None:
        self._file.seek(0)
        if self._file.read(len(self._encoder.header)) != self._encoder.header:
            raise ValueError(
                f"{self.partial} begins otherwise than this command begins it; begin anew with resume=False"
            )


def _arrow_type(kind: type) -> Any:
    from minidistil.sentences.columns import import_pyarrow

    return getattr(import_pyarrow(), _ARROW_TYPES[kind])()
