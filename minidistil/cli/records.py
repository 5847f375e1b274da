"""A command's way from records to results: its options, and the loop."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from minidistil.cli.kinds import TEXT_FILE
from minidistil.cli.options import Decorator, encoding_option, gathered, json_option, output_option, shared
from minidistil.cli.writing import Answered, Form, Layout, Result, open_results, output_kind, print_results
from minidistil.records.lines import STANDARD_INPUT, batches
from minidistil.records.record import Record, peek
from minidistil.records.sources import FLAT, KINDS, TYPED, Source

if TYPE_CHECKING:
    from minidistil.models.base import Model

# Of the parameters of commands: what no byte of the output depends on, or what is compared by its content.
_WITHOUT_EFFECT = {
    *("file", "texts", "kind", "encoding", "pairs", "question", "files"),
    *("output", "as_json", "restart", "gold", "model", "revision", "local_files_only", "threads", "backend"),
}
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


class Target(NamedTuple):
    """Where results go: what `target_options` adds."""

    output: Path | None
    as_json: bool
    prefix: str | None
    restart: bool


class Streams(NamedTuple):
    """Where a command's records come from: what `record_options` adds, beside the target."""

    file: str
    texts: tuple[str, ...]
    kind: str | None
    encoding: str
    shard: tuple[int, int] | None

    def source(self, target: Target, *columns: str, labels: str | None = None) -> Source:
        """Return the source of records with these columns; what is wrong with it is told here."""
        kind = output_kind(target.output)  # an output that cannot be written is told first
        source = Source(
            self.file,
            self.texts,
            self.kind,
            self.encoding,
            columns,
            labels=labels,
            typed=kind in TYPED,
            alike=kind in FLAT,
            shard=self.shard,
        )
        _ = source.scan
        return source


restart_option = click.option("--restart", is_flag=True, help="Begin anew where an interrupted run has left its part.")


def target_options(json_help: str = "Print a line of JSON per text.") -> Decorator:
    """Add --output, --json, --prefix and --restart."""
    return gathered("target", Target, records_output_option, json_option(json_help), prefix_option, restart_option)


_source_options = gathered(
    "streams",
    Streams,
    click.argument("file", type=TEXT_FILE, default=STANDARD_INPUT),
    click.option("--text", "-t", "texts", multiple=True, help="A text, in place of FILE; may be repeated."),
    format_option,
    encoding_option,
    shard_option,
)


def record_options(command: Any) -> Any:
    """Add what reading records and writing results takes."""
    return shared(_source_options, target_options())(command)


def process(
    source: Source,
    answer: Callable[[list[Record]], Sequence[Result]],
    layout: Layout,
    target: Target,
    model: Model[Any],
    watch: Callable[[Record, Result], None] | None = None,
) -> None:
    """Answer all records and print or write what was found, in their order, as it is found.

    A file that an interrupted run has left is gone on with, as `encode_to_file` does it.

    Args:
        source: of the records.
        answer: makes results of records that have all texts; one without gets none.
        layout: of the results.
        target: where they go.
        model: that `answer` asks.
        watch: what is called for each record and its result; then all are answered anew.
    """
    from minidistil.sentences.growing import Kept
    from minidistil.sentences.progress import progress

    form = Form(layout, target.output, target.as_json, target.prefix, source.scan)
    show = sys.stderr.isatty() and (target.output is not None or not sys.stdout.isatty())
    records = source.records()
    typed = output_kind(target.output) in TYPED
    begun = peek(records, _CHUNK if typed and source.scan.schema is None else 1)
    left = itertools.chain(begun, records)

    def answers() -> Iterator[list[Answered]]:
        for chunk in batches(left, _CHUNK):
            answered = list(zip(chunk, answer_all(chunk, source.columns, answer), strict=True))
            if watch is not None:
                for record, result in answered:
                    watch(record, result)
            yield answered

    if target.output is None:
        with progress(source.scan.records, show, "texts", delay=1) as bar:
            print_results(_counted(answers(), bar), form, begun[0] if begun else None)
        return
    circumstances = _circumstances(source, form, model)
    resume = not target.restart and watch is None
    with Kept(target.output, circumstances, lambda done: open_results(form, begun, done), resume=resume) as growing:
        growing.skip(_key(record) for record in left if record is not None)
        with progress(source.scan.records, show, "texts", done=growing.resumed, delay=1) as bar:
            for answered in _counted(answers(), bar):
                start = growing.file.end
                growing.take([_key(record) for record, _ in answered], start, growing.file.append(answered))


def _counted(answers: Iterator[list[Answered]], bar: Any) -> Iterator[list[Answered]]:
    """The same, told to a progress bar when they are through."""
    for answered in answers:
        yield answered
        bar.update(len(answered))


def _key(record: Record) -> str:
    """What a resumed run compares of a record."""
    return repr(dict(record.values))


def _circumstances(source: Source, form: Form, model: Model[Any]) -> dict[str, Any]:
    """What a file of results depends on, but for the records: the model, and the command's own options."""
    from minidistil.sentences.streaming import bits_of

    context = click.get_current_context()
    options = {name: value for name, value in context.params.items() if name not in _WITHOUT_EFFECT}
    told = {
        "command": context.info_name,
        "format": output_kind(form.output),
        "model": model.source.identity(weights=True) if model.source else None,
        "bits": bits_of(model),
        "columns": source.columns,
        **options,
    }
    plain: dict[str, Any] = json.loads(json.dumps(told, default=str))  # as it is read again
    return plain


def answer_all(
    records: list[Record], columns: Sequence[str], answer: Callable[[list[Record]], Sequence[Result]]
) -> list[Result]:
    """Return a result for each record, empty for one that lacks a text in one of the columns."""
    there = [all(record.values[column] is not None for column in columns) for record in records]
    whole = [record for record, is_there in zip(records, there, strict=True) if is_there]
    found: Iterator[Any] = iter(answer(whole) if whole else ())
    return [next(found) if is_there else Result(None, "") for is_there in there]
