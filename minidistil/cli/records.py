"""A command's way from records to results: its options, and the loop."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from minidistil.cli.kinds import TEXT_FILE
from minidistil.cli.options import encoding_option, gathered, json_option, output_option
from minidistil.cli.sources import KINDS, TYPED, Record, Source, peek
from minidistil.cli.text import STANDARD_INPUT, batches
from minidistil.cli.writing import Form, Layout, Result, output_kind, write

_CHUNK = 64  # texts at once: their windows fill the cores, and the bar moves


def _read_shard(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """I/N as two numbers (a click callback)."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", value)
    i, n = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= i <= n:
        raise click.BadParameter(f"{value!r}: it is I/N, such as 1/4 for the first of four parts")
    return i, n


format_option = click.option(
    "--format",
    "kind",
    type=click.Choice(KINDS),
    help="Of FILE. [default: by its name's end; text, a text per line]",
)
prefix_option = click.option(
    "--prefix", help="Put before the names of what is found. [default: something only where a name is taken]"
)
shard_option = click.option(
    "--shard",
    metavar="I/N",
    callback=_read_shard,
    help="Do the I-th of N parts only: their outputs, one after another, are the whole's.",
)
records_output_option = output_option("A .csv, .tsv, .jsonl, .parquet or .arrow file")


class Streams(NamedTuple):
    """Where a command's records come from and where its results go: what `record_options` adds."""

    file: str
    texts: tuple[str, ...]
    kind: str | None
    encoding: str
    shard: tuple[int, int] | None
    output: Path | None
    as_json: bool
    prefix: str | None

    def source(self, *columns: str, labels: str | None = None) -> Source:
        """Return the source of records with these columns; what is wrong with it is told here."""
        typed = output_kind(self.output) in TYPED  # also: an output that cannot be written is told first
        source = Source(
            self.file, self.texts, self.kind, self.encoding, columns, labels=labels, typed=typed, shard=self.shard
        )
        _ = source.scan
        return source


record_options = gathered(
    "streams",
    Streams,
    click.argument("file", type=TEXT_FILE, default=STANDARD_INPUT),
    click.option("--text", "-t", "texts", multiple=True, help="A text, in place of FILE; may be repeated."),
    format_option,
    encoding_option,
    shard_option,
    records_output_option,
    json_option("Print a line of JSON per text."),
    prefix_option,
)


def process(
    source: Source,
    answer: Callable[[list[Record]], Sequence[Result]],
    layout: Layout,
    output: Path | None,
    as_json: bool,
    prefix: str | None = None,
    watch: Callable[[Record, Result], None] | None = None,
) -> None:
    """Answer all records and print or write what was found, in their order, as it is found.

    Args:
        source: of the records.
        answer: makes results of records that have all texts; one without gets none.
        layout: of the results.
        output: the file to write, or None for standard output.
        as_json: print JSON lines there, rather than for people.
        prefix: before the names of what is found.
        watch: what is called for each record and its result.
    """
    from minidistil.sentences.progress import progress

    form = Form(layout, output, as_json, prefix, source.scan)
    show = sys.stderr.isatty() and (output is not None or not sys.stdout.isatty())
    records = source.records()
    first = peek(records, 1)
    with progress(source.scan.records, show, "texts", delay=1) as bar:

        def answers() -> Iterator[list[tuple[Record, Result]]]:
            for chunk in batches(itertools.chain(first, records), _CHUNK):
                answered = list(zip(chunk, answer_all(chunk, source.columns, answer), strict=True))
                if watch is not None:
                    for record, result in answered:
                        watch(record, result)
                yield answered
                bar.update(len(chunk))

        write(answers(), form, first[0] if first else None)


def answer_all(
    records: list[Record], columns: Sequence[str], answer: Callable[[list[Record]], Sequence[Result]]
) -> list[Result]:
    """Return a result for each record, empty for one that lacks a text in one of the columns."""
    there = [all(record.values[column] is not None for column in columns) for record in records]
    whole = [record for record, is_there in zip(records, there, strict=True) if is_there]
    found: Iterator[Any] = iter(answer(whole) if whole else ())
    return [next(found) if is_there else Result(None, "") for is_there in there]
