"""`minidistil embed` and `minidistil search`: sentence embeddings of texts."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from minidistil.cli.kinds import TEXT_FILE
from minidistil.cli.matches import Ranking, Searched, find, ranking_options, searched_options, tell
from minidistil.cli.options import (
    column_option,
    encoding_option,
    load_sentence_encoder,
    model_options,
    output_option,
)
from minidistil.cli.records import format_option, prefix_option, restart_option, shard_option
from minidistil.cli.text import printable, shortened, warn_of_cut
from minidistil.cli.writing import Form, Layout, output_kind, refuse_overwriting
from minidistil.records.lines import STANDARD_INPUT, batches
from minidistil.records.record import Record, peek
from minidistil.records.sources import TYPED, Source
from minidistil.sentences.quantization import PRECISIONS

if TYPE_CHECKING:
    from minidistil.sentences import SentenceEncoder
    from minidistil.sentences.rows import Row

_CHUNK = 256  # texts at once: enough to sort by length and fill the cores, little enough to show progress
_SHOWN = 4  # numbers of an embedding, on a terminal
_LAYOUT = Layout({"embedding": list}, prefix="new_")


@click.command(short_help="Embed each line of a file.")
@click.argument("file", type=TEXT_FILE, default=STANDARD_INPUT)
@output_option("A .npy, .parquet, .arrow or .jsonl file")
@format_option
@column_option
@click.option("--prompt-name", help="Put the model's prompt of this name before each text.")
@click.option("--normalize", is_flag=True, help="Scale the embeddings to length 1.")
@click.option("--truncate-dim", type=click.IntRange(min=1), metavar="N", help="Keep the first N dimensions.")
@click.option(
    "--precision",
    "numbers",
    type=click.Choice(list(PRECISIONS)),
    default="float32",
    show_default=True,
    help="Of the embeddings, as they are written.",
)
@click.option(
    "--ranges",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A .npy file [2, D], least and greatest value of each dimension, for int8 and uint8.",
)
@restart_option
@shard_option
@encoding_option
@prefix_option
@model_options(default_sentence_model=True)
def embed(
    file: str,
    output: Path | None,
    kind: str | None,
    column: str,
    prompt_name: str | None,
    normalize: bool,
    truncate_dim: int | None,
    numbers: str,
    ranges: Path | None,
    restart: bool,
    shard: tuple[int, int] | None,
    encoding: str,
    prefix: str | None,
    model: str | None,
    **options: Any,
) -> None:
    """Embed each line of FILE (or of standard input), or each row of CSV, JSON lines, Parquet or Arrow.

    OUTPUT ending in .npy becomes an array with a row per text, empty lines included; .parquet, .arrow or .feather (with
    pyarrow) get the input's own columns and the column embedding; .jsonl, and standard output, a line of JSON per text
    with the same; a terminal is shown the first numbers only. While it is written, the file is called OUTPUT.partial,
    and holds all that is finished: stop when you like, and the same command goes on from there.

    \b
    Example:
      minidistil embed example:amendments -o amendments.npy
    """
    from minidistil.sentences.sinks import sink_kind
    from minidistil.sentences.streaming import encode_rows_to_file, encode_with_gaps

    written = None if output is None else sink_kind(output)  # wrong names and files are told before a model is loaded
    typed = written in TYPED and output_kind(output) in TYPED
    source = Source(file, (), kind, encoding, (column,), blank=True, typed=typed, shard=shard)
    total = source.scan.records
    if written == "npy" and source.scan.without is not None:
        null = f"{source.scan.without}: {column} is null"
        raise click.UsageError(f"{null}, and a .npy file has no place for that: write .parquet, .arrow or .jsonl")
    rows, into, schema = _rows(source, prefix)
    encoder = load_sentence_encoder(model, **options)
    wanted: dict[str, Any] = {
        "prompt_name": prompt_name,
        "normalize_embeddings": normalize,
        "truncate_dim": truncate_dim,
        "precision": numbers,
        "ranges": None if ranges is None else _load_ranges(ranges),
        "truncation": True,
    }
    if output is None:
        people = sys.stdout.isatty()
        done = 0
        for chunk in batches(rows, _CHUNK):
            embeddings, present = encode_with_gaps(encoder, [row.text for row in chunk], done, wanted)
            if people:
                _show(chunk, embeddings)
            else:
                _print(chunk, embeddings, present, into)
            done += len(chunk)
        if people:
            click.echo("minidistil: -o FILE keeps the embeddings, and a pipe gets them as JSON lines", err=True)
    else:
        encode_rows_to_file(
            encoder,
            (row for row in rows if row is not None),
            output,
            into=into,
            schema=schema,
            source=_told(source, into),
            resume=not restart,
            show_progress_bar=sys.stderr.isatty(),
            total=total,
            **wanted,
        )
    _warn_of_cut_lines(encoder)


@click.command(short_help="Find lines of files by meaning.")
@ranking_options("Matches", min_score="Leave out matches below this cosine similarity (-1 to 1).")
@searched_options
@model_options(default_sentence_model=True)
def search(
    ranking: Ranking,
    searched: Searched,
    model: str | None,
    **options: Any,
) -> None:
    """Find the lines of FILE... that mean most nearly what QUERY means.

    FILE is text, CSV, JSON lines, Parquet or Arrow; `-` is standard input. Prints file:line, the cosine similarity and
    the text, best first; OUTPUT gets the input's own columns, and the score. Blank lines are skipped.

    \b
    Example:
      minidistil search "can the police search my home?" example:amendments
    """
    ranking.check()
    sources = searched.sources(ranking.files)  # what is wrong with them is told before a model is loaded
    encoder = load_sentence_encoder(model, **options)
    wanted = encoder.encode_query(ranking.query, normalize_embeddings=True, truncation=True)
    matches = find(ranking, sources, _CHUNK, lambda texts: _similarities(encoder, texts, wanted))
    _warn_of_cut_lines(encoder)
    tell(matches, ranking, searched)


def _rows(source: Source, prefix: str | None) -> tuple[Iterator[Row | None], str, Any]:
    """What is to be embedded, what the embeddings are called, and the schema of the rest, where one is wanted."""
    from minidistil.sentences.rows import Row

    column, records, schema = source.columns[0], source.records(), source.scan.schema
    columns, begun = source.scan.columns, list[Record]()
    if columns is None:  # a stream: its beginning tells
        begun = peek(records, 1 if schema is not None or not source.typed else _CHUNK)
        columns = tuple(dict.fromkeys(name for record in begun for name in record.values))
    if source.typed and schema is None:
        from minidistil.sentences.tables import schema_of

        schema = schema_of([record.values for record in begun])
    into = Form(_LAYOUT, prefix=prefix).chosen(columns) + "embedding"

    def rows() -> Iterator[Row | None]:
        for record in itertools.chain(begun, records):
            if record is None:
                yield None
                continue
            text = record.values[column]
            refuse_overwriting(record.values, [into], record.place)
            yield Row(text, record.values, text if source.form == "text" else repr(dict(record.values)))

    return rows(), into, schema


def _told(source: Source, into: str) -> dict[str, Any]:
    """What a file of embeddings depends on beside the rows; nothing of lines of text alone."""
    told: dict[str, Any] = {} if source.form == "text" else {"column": source.columns[0], "into": into}
    return told if source.shard is None else {**told, "shard": "/".join(map(str, source.shard))}


def _print(rows: list[Row], embeddings: np.ndarray, present: np.ndarray, into: str) -> None:
    """A line of JSON for each row, as the others of its chunk are there."""
    from minidistil.sentences.sinks import json_lines

    sys.stdout.buffer.write(json_lines([row.values for row in rows], embeddings, present, into))
    sys.stdout.buffer.flush()


def _show(rows: list[Row], embeddings: np.ndarray) -> None:
    """A line for people: how the embedding begins, how long it is, and the text."""
    for (text, *_), numbers in zip(rows, embeddings, strict=True):
        if text is None:
            continue
        shown = [f"{number:6.3f}" if numbers.dtype.kind == "f" else f"{number:4}" for number in numbers[:_SHOWN]]
        begin = " ".join(shown)
        line = shortened(f"{begin} … {len(numbers)} numbers  {printable(text)}")
        click.echo(click.style(line[: len(begin)], fg="green") + line[len(begin) :])
    sys.stdout.flush()


def _load_ranges(path: Path) -> np.ndarray:
    try:
        found: np.ndarray = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise click.ClickException(f"{path} is no .npy file: {error}") from error
    return found


def _similarities(encoder: SentenceEncoder, texts: list[str], query: np.ndarray) -> np.ndarray:
    """Cosine of each text with the query, float32 [n]; each from its own row alone, whatever shares the chunk."""
    rows: np.ndarray = encoder.encode_document(texts, normalize_embeddings=True, truncation=True)
    return np.add.reduce(rows * query, axis=1)


def _warn_of_cut_lines(encoder: SentenceEncoder) -> None:
    """Say once, at the end, what the encoder would say for each chunk."""
    warn_of_cut(encoder.truncated, "text", f"cut to {encoder.max_seq_length} tokens")
