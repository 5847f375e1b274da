"""`minidistil ner`: the names and other entities of texts, coloured where they stand."""

from __future__ import annotations

import zlib
from typing import Any

import click

from minidistil.cli.options import column_option, model_options
from minidistil.cli.records import Streams, Target, process, record_options
from minidistil.cli.text import place_shown, printable
from minidistil.cli.writing import Layout, Result
from minidistil.records.record import Record

_LAYOUT = Layout({"entity_group": str, "score": float, "word": str, "start": int, "end": int}, "entities")
_COLOURS = {"PER": "bright_red", "LOC": "bright_green", "ORG": "bright_blue", "MISC": "bright_yellow"}
_OTHERS = ("bright_magenta", "bright_cyan", "red", "green", "blue", "yellow", "magenta", "cyan")


@click.command(short_help="Mark the entities of each text.")
@record_options
@click.option(
    "--aggregation",
    type=click.Choice(["simple", "first", "average", "max"]),
    default="first",
    show_default=True,
    help="How the tokens of a word agree on a label; simple: they need not.",
)
@column_option
@model_options(default_sentence_model=False)
def ner(
    streams: Streams,
    target: Target,
    aggregation: str,
    column: str,
    model: str,
    **options: Any,
) -> None:
    """Mark the entities of each line of FILE (or of standard input), coloured on a terminal and in [brackets].

    FILE is text, CSV, JSON lines, Parquet or Arrow, and so is what is written: the input's own columns, and a list of
    entities; CSV gets a row for each entity.

    \b
    Example:
      minidistil ner example:travellers -m ner
    """
    from minidistil.pipelines import pipeline

    source = streams.source(target, column)  # a file that is missing is named before a model is loaded
    pipe = pipeline("token-classification", model=model, aggregation_strategy=aggregation, **options)

    def answer(records: list[Record]) -> list[Result]:
        found = pipe([record.values[column] for record in records])
        return [
            Result(entities, _shown(record, record.values[column], entities))
            for record, entities in zip(records, found, strict=True)
        ]

    process(source, answer, _LAYOUT, target, pipe.model)


def mark(text: str, entities: list[dict[str, Any]]) -> str:
    """Return the text with its entities in brackets and colours, each followed by its kind."""
    parts, at = [], 0
    for entity in entities:
        kind, start, end = entity["entity_group"], entity["start"], entity["end"]
        colour = colour_of(kind)
        parts += [text[at:start], click.style(f"[{text[start:end]}", fg=colour, bold=True)]
        parts += [click.style(f" {kind}", fg=colour, dim=True), click.style("]", fg=colour, bold=True)]
        at = end
    return "".join(parts) + text[at:]


def colour_of(kind: str) -> str:
    """Return the colour of a kind of entity, the same every time."""
    return _COLOURS.get(kind) or _OTHERS[zlib.crc32(kind.encode()) % len(_OTHERS)]


def _shown(record: Record, text: str, entities: list[dict[str, Any]]) -> str:
    return place_shown(record) + mark(printable(text), entities)
