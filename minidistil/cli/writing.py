"""Results beside what they came of: for people, as JSON lines, CSV, Arrow or Parquet.

A file is called NAME.partial until it is whole.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import click

from minidistil.cli.sources import FORMATS, TYPED, Record, Scan

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
        return output_kind(self.output) in ("csv", "tsv")

    def chosen(self, taken: Collection[str]) -> str:
        """Return the prefix beside these columns (click.ClickException where a name is taken all the same)."""
        names = self.layout.names(self.flat)
        prefix = self.prefix
        if prefix is None:
            prefix = self.layout.prefix if any(name in taken for name in names) else ""
        refuse_overwriting(taken, [prefix + name for name in names])
        return prefix


def write(answers: Iterable[list[tuple[Record, Result]]], form: Form, first: Record | None) -> None:
    """Print or write records with what was found for each, chunk by chunk; `first` is the first of them, if any."""
    writer = _writer(form, first)
    try:
        for chunk in answers:
            for record, result in chunk:
                writer.write(record, result)
            writer.flush()
        writer.finish()
    except BaseException as error:
        note = writer.abandon()
        if note:  # as BaseException.add_note does, which Python 3.10 lacks
            error.__notes__ = [*getattr(error, "__notes__", ()), note]  # type: ignore[attr-defined]
        raise


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


class Printer:
    """Prints results for people."""

    def write(self, record: Record, result: Result) -> None:
        """Take one more result."""
        if result.shown:
            click.echo(result.shown)

    def flush(self) -> None:
        """Let all that was taken be seen."""
        sys.stdout.flush()

    def finish(self) -> None:
        """Give the file its name."""

    def abandon(self) -> str:
        """Close the file; says what is in it."""
        return ""


class _JsonLines(Printer):
    """A line of JSON per record, to a file or standard output."""

    def __init__(self, form: Form, prefix: str) -> None:
        from minidistil.sentences.sinks import partial_path

        self.form, self.prefix = form, prefix
        self.names = [prefix + name for name in form.layout.names(form.flat)]
        self.path = form.output
        self.partial = partial_path(form.output) if form.output else None
        self.file: IO[Any] = self._create(self.partial) if self.partial else sys.stdout
        self.records = 0

    def write(self, record: Record, result: Result) -> None:
        from minidistil.sentences.rows import json_text

        refuse_overwriting(record.values, self.names, record.place or "the text")
        self.file.write(json_text({**record.values, **self.fields(result)}) + "\n")
        self.records += 1

    def fields(self, result: Result) -> dict[str, Any]:
        """What was found, by name: a list, or the columns of the one row."""
        if self.form.layout.listed is not None:
            return {self.prefix + self.form.layout.listed: result.rows}
        row = result.rows[0] if result.rows else dict.fromkeys(self.form.layout.columns)
        return {self.prefix + name: value for name, value in row.items()}

    def flush(self) -> None:
        self.file.flush()

    def finish(self) -> None:
        if self.partial and self.path:
            self.file.close()
            self.partial.replace(self.path)

    def abandon(self) -> str:
        if not self.partial:
            return ""
        self.file.close()
        if not self.records:
            self.partial.unlink(missing_ok=True)
            return "nothing was written"
        return f"the results of the first {self.records:,} texts are in {self.partial}"

    def _create(self, path: Path) -> IO[Any]:
        try:
            return path.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise click.ClickException(f"cannot write {path}: {error.strerror}") from error


class _Csv(_JsonLines):
    """Rows of CSV: the record's columns, and the result's; a row for each of several."""

    def __init__(self, form: Form, prefix: str, own: Sequence[str]) -> None:
        super().__init__(form, prefix)
        dialect = "excel-tab" if output_kind(form.output) == "tsv" else "excel"
        self._rows = csv.writer(self.file, dialect, lineterminator="\n")
        self._own = list(own)
        self._rows.writerow([*own, *self.names])

    def write(self, record: Record, result: Result) -> None:
        from minidistil.sentences.rows import cell

        if list(record.values) != self._own:
            raise click.ClickException(
                f"{record.place}: columns {', '.join(record.values)}, and the records before it have "
                f"{', '.join(self._own)}; CSV takes the same ones throughout: write .jsonl"
            )
        own = [cell(name, value) for name, value in record.values.items()]
        for row in [{}] if result.rows is None else result.rows:
            self._rows.writerow([*own, *(row.get(column) for column in self.form.layout.columns)])
        self.records += 1


class _Table(_JsonLines):
    """An Arrow or Parquet file: the record's columns with their types, and the result's."""

    def __init__(self, form: Form, prefix: str, schema: Any) -> None:
        from minidistil.sentences.columns import import_pyarrow

        self._arrow = import_pyarrow()
        self._chunk: list[tuple[Record, Result]] = []
        self._own: Any = None
        if schema is not None:  # what cannot be written is told before there is a file
            self._take(schema, form, prefix)
        super().__init__(form, prefix)

    def write(self, record: Record, result: Result) -> None:
        self._chunk.append((record, result))

    def flush(self) -> None:
        from minidistil.sentences import tables

        values = [record.values for record, _ in self._chunk]
        if self._own is None:
            self._take(tables.schema_of(values), self.form, self.prefix)
        if not self.file.tell():
            self.file.write(self._header)
        if not values:
            return
        for record, _ in self._chunk:
            if not isinstance(record.values, tables.TableRow):
                self._refuse_others(record)
        own = tables.record_batch(values, self._own)
        found = [self.fields(result) for _, result in self._chunk]
        columns = [
            self._arrow.array([fields[field.name] for fields in found], field.type)
            for field in list(self._schema)[len(self._own) :]
        ]
        batch = self._arrow.RecordBatch.from_arrays([*own.columns, *columns], schema=self._schema)
        self.file.write(tables.stream_part(batch, self._header))
        self.file.flush()
        self.records += len(self._chunk)
        self._chunk = []

    def finish(self) -> None:
        from minidistil.sentences import tables

        self.flush()
        assert self.partial is not None
        assert self.path is not None
        self.file.close()
        tables.finish(self.partial, self.path, str(output_kind(self.path)))

    def _refuse_others(self, record: Record) -> None:
        refuse_overwriting(record.values, self.names, record.place)
        others = [name for name in record.values if self._own.get_field_index(name) < 0]
        if others:
            raise click.ClickException(
                f"{record.place}: column {' and '.join(others)}, which the records before it do not have; "
                "a table takes the same ones throughout: write .jsonl"
            )

    def _take(self, own: Any, form: Form, prefix: str) -> None:
        """Take the schema of the records."""
        from minidistil.sentences import tables

        arrow, layout = self._arrow, form.layout
        fields = [arrow.field(name, _arrow_type(kind)) for name, kind in layout.columns.items()]
        if layout.listed is not None:
            fields = [arrow.field(layout.listed, arrow.list_(arrow.struct(fields)))]
        schema = own
        for field in fields:
            schema = schema.append(field.with_name(prefix + field.name))
        tables.check_kind(str(output_kind(form.output)), schema)
        self._own, self._schema, self._header = own, schema, tables.stream_header(schema)

    def _create(self, path: Path) -> IO[Any]:
        try:
            return path.open("wb")
        except OSError as error:
            raise click.ClickException(f"cannot write {path}: {error.strerror}") from error


def _writer(form: Form, first: Record | None) -> Printer:
    """What writes them; `first` is the first record, where there is one."""
    kind = output_kind(form.output)
    if kind is None and not form.as_json:
        return Printer()
    scan = form.scan or Scan(None)
    own = scan.columns if scan.columns is not None else tuple(first.values) if first else ()
    prefix = form.chosen(own)
    if kind in ("csv", "tsv"):
        return _Csv(form, prefix, list(first.values) if first else own)
    if kind in TYPED:
        return _Table(form, prefix, scan.schema)
    return _JsonLines(form, prefix)


def _arrow_type(kind: type) -> Any:
    from minidistil.sentences.columns import import_pyarrow

    return getattr(import_pyarrow(), _ARROW_TYPES[kind])()
