"""Texts from lines, CSV or JSON lines, and results beside what they came from: the same for every task's command."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import click

from minidistil.cli.kinds import TEXT_FILE
from minidistil.cli.options import encoding_option, gathered, json_option, output_option
from minidistil.cli.text import STANDARD_INPUT, Lines, batches, count_lines, display_name

_CHUNK = 64  # texts at once: their windows fill the cores, and the bar moves
_FORMATS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


class Record(NamedTuple):
    """A line of text, a row of CSV or a line of JSON: where it is from, and what it holds by column."""

    place: str
    values: dict[str, Any]
    line: int = 0

    def place_shown(self) -> str:
        """Where it is from, coloured and with a space behind it; nothing for a text of the command line."""
        return click.style(self.place, fg="cyan") + " " if self.place else ""


@dataclass(frozen=True)
class Result:
    """What a command found for one record.

    Attributes:
        fields: what JSON lines show of it, beside the record's own columns.
        rows: the same for CSV, which has no lists: a row for each label, entity or answer.
        shown: for people.
    """

    fields: dict[str, Any]
    rows: list[dict[str, Any]]
    shown: str


@dataclass(frozen=True)
class Source:
    """Where records come from: files or standard input, or texts of the command line."""

    file: str
    texts: tuple[str, ...]
    kind: str | None
    encoding: str
    columns: tuple[str, ...]

    def count(self) -> int | None:
        """How many lines there are, where that can be known; a file that is missing is named here."""
        return len(self.texts) if self.texts else count_lines(self.file)

    def batches(self, size: int) -> Iterator[list[Record]]:
        """The records, as many at once as are there, at most `size`; each has all columns, as str."""
        return batches(self._read(), size)

    def _read(self) -> Iterator[Record | None]:
        """The records, and None where the next one is waited for."""
        if self.texts:
            return (Record("", {self.columns[0]: text}) for text in self.texts)
        kind = self.kind or _FORMATS.get(Path(self.file).suffix.lower(), "text")
        if kind == "text" and len(self.columns) > 1:
            raise click.UsageError(
                f"{display_name(self.file)}: columns {' and '.join(self.columns)} take CSV or JSON lines; "
                "--format says which of the two this is"
            )
        if kind == "text":
            return self._of_lines()
        return self._of_rows("," if kind == "csv" else "\t") if kind != "jsonl" else self._of_json()

    def _of_lines(self) -> Iterator[Record | None]:
        for line in Lines(self.file, self.encoding).as_they_come():
            if line is None:
                yield None
            elif line[1].strip():
                yield Record(self._place(line[0]), {self.columns[0]: line[1]}, line[0])

    def _of_rows(self, delimiter: str) -> Iterator[Record | None]:
        lines = Lines(self.file, self.encoding)
        reader = csv.reader((f"{text}\n" for _, text in lines), delimiter=delimiter, strict=True)
        try:
            header = next(reader, [])
            self._check(header, 1)
            if len(set(header)) < len(header):
                raise click.ClickException(f"{self._place(1)}: two columns have the same name: {', '.join(header)}")
            while True:
                if lines.wait():
                    yield None
                row = next(reader, None)
                if row is None:
                    return
                if not row:
                    continue
                if len(row) != len(header):
                    raise click.ClickException(
                        f"{self._place(reader.line_num)}: {len(row)} cells, and the header has {len(header)}"
                    )
                yield Record(self._place(reader.line_num), dict(zip(header, row, strict=True)), reader.line_num)
        except csv.Error as error:
            raise click.ClickException(f"{self._place(reader.line_num)}: {error}") from error

    def _of_json(self) -> Iterator[Record | None]:
        for numbered in Lines(self.file, self.encoding).as_they_come():
            if numbered is None:
                yield None
                continue
            number, line = numbered
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except ValueError as error:
                raise click.ClickException(f"{self._place(number)}: not a line of JSON: {error}") from error
            if not isinstance(values, dict):
                raise click.ClickException(f"{self._place(number)}: not an object, but {type(values).__name__}")
            self._check(values, number)
            for column in self.columns:
                if not isinstance(values[column], str):
                    raise click.ClickException(
                        f"{self._place(number)}: {column} is no text, but {type(values[column]).__name__}"
                    )
            yield Record(self._place(number), values, number)

    def _check(self, found: Iterable[str], number: int) -> None:
        missing = [column for column in self.columns if column not in found]
        if missing:
            raise click.ClickException(
                f"{self._place(number)}: no {' and no '.join(missing)} among the columns {', '.join(found) or '(none)'}"
            )

    def _place(self, number: int) -> str:
        return f"{display_name(self.file)}:{number}"


class Streams(NamedTuple):
    """Where a command's records come from and where its results go: what `record_options` adds."""

    file: str
    texts: tuple[str, ...]
    kind: str | None
    encoding: str
    output: Path | None
    as_json: bool

    def source(self, *columns: str) -> Source:
        """Return the source of records with these columns; a file that is missing is named here."""
        source = Source(self.file, self.texts, self.kind, self.encoding, columns)
        source.count()
        return source


format_option = click.option(
    "--format",
    "kind",
    type=click.Choice(["text", "csv", "tsv", "jsonl"]),
    help="Of FILE. [default: by its name's end; text, a text per line]",
)
records_output_option = output_option("A .csv, .tsv or .jsonl file")
record_options = gathered(
    "streams",
    Streams,
    click.argument("file", type=TEXT_FILE, default=STANDARD_INPUT),
    click.option("--text", "-t", "texts", multiple=True, help="A text, in place of FILE; may be repeated."),
    format_option,
    encoding_option,
    records_output_option,
    json_option("Print a line of JSON per text."),
)


def process(
    source: Source,
    answer: Callable[[list[Record]], Sequence[Result]],
    columns: Sequence[str],
    output: Path | None,
    as_json: bool,
) -> None:
    """Answer all records and print or write what was found, in their order, as it is found.

    Args:
        source: of the records.
        answer: makes results of records.
        columns: that a row of a result has.
        output: the file to write, or None for standard output.
        as_json: print JSON lines there, rather than for people.
    """
    from minidistil.sentences.progress import progress

    show = sys.stderr.isatty() and (output is not None or not sys.stdout.isatty())
    with progress(source.count(), show, "texts", delay=1) as bar:

        def answers() -> Iterator[list[tuple[Record, Result]]]:
            for chunk in source.batches(_CHUNK):
                yield list(zip(chunk, answer(chunk), strict=True))
                bar.update(len(chunk))

        write(answers(), columns, output, as_json)


def write(
    answers: Iterable[list[tuple[Record, Result]]], columns: Sequence[str], output: Path | None, as_json: bool = False
) -> None:
    """Print or write records with what was found for each, chunk by chunk; arguments as for `process`."""
    writer = _writer(output, columns, as_json)
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


class _Printer:
    """Prints results for people."""

    def write(self, record: Record, result: Result) -> None:
        if result.shown:
            click.echo(result.shown)

    def flush(self) -> None:
        sys.stdout.flush()

    def finish(self) -> None:
        pass

    def abandon(self) -> str:
        return ""


class _JsonLines(_Printer):
    """A line of JSON per record, to a file (NAME.partial until the end) or standard output."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial") if path else None
        self.file: IO[str] = _create(self.partial) if self.partial else sys.stdout
        self.records = 0

    def write(self, record: Record, result: Result) -> None:
        refuse_overwriting(record, result.fields)
        self.file.write(json.dumps({**record.values, **result.fields}, ensure_ascii=False) + "\n")
        self.records += 1

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


class _Csv(_JsonLines):
    """Rows of CSV, to a file: the record's columns, and the result's."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        super().__init__(path)
        self._columns = list(columns)
        self._dialect = "excel-tab" if path.suffix == ".tsv" else "excel"
        self._rows: Any = None
        self._own: list[str] = []

    def write(self, record: Record, result: Result) -> None:
        if self._rows is None:
            self._own = list(record.values)
            self._rows = csv.writer(self.file, self._dialect, lineterminator="\n")
            self._rows.writerow([*self._own, *self._columns])
        refuse_overwriting(record, self._columns)
        if list(record.values) != self._own:
            raise click.ClickException(
                f"{record.place}: columns {', '.join(record.values)}, and the records before it have "
                f"{', '.join(self._own)}; CSV takes the same ones throughout: write .jsonl"
            )
        for row in result.rows:
            self._rows.writerow([*record.values.values(), *(row[column] for column in self._columns)])
        self.records += 1


def output_kind(output: Path | None) -> str | None:
    """Return what to write, "csv", "tsv" or "jsonl", by a file's name (click.UsageError where it does not say)."""
    kind = _FORMATS.get(output.suffix.lower()) if output else None
    if output and kind is None:
        raise click.UsageError(f"{output}: its name must end in .csv, .tsv or .jsonl, which says how to write it")
    return kind


def _writer(output: Path | None, columns: Sequence[str], as_json: bool) -> _Printer:
    kind = output_kind(output)
    if output and kind in ("csv", "tsv"):
        return _Csv(output, columns)
    return _JsonLines(output) if output or as_json else _Printer()


def _create(path: Path) -> IO[str]:
    try:
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error


def refuse_overwriting(record: Record, columns: Iterable[str]) -> None:
    """Refuse a record that has a column of a result's name already (click.ClickException)."""
    taken = [column for column in columns if column in record.values]
    if taken:
        raise click.ClickException(
            f"{record.place}: the input has the column {' and '.join(taken)} already, where the result would go; "
            "rename it"
        )
