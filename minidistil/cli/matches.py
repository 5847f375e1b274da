"""Searching in texts: the best few matches kept, then printed for a person or a program, or written to a file."""

from __future__ import annotations

import heapq
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from minidistil.cli.kinds import TEXT_FILE
from minidistil.cli.options import (
    Decorator,
    column_option,
    encoding_option,
    gathered,
    json_option,
    top_k_option,
)
from minidistil.cli.records import format_option, prefix_option, records_output_option
from minidistil.cli.text import printable
from minidistil.cli.writing import Form, Layout, Result, output_kind, write_at_once
from minidistil.records.lines import display_name
from minidistil.records.record import Record
from minidistil.records.sources import Source

_SCORED = Layout({"score": float}, prefix="found_")
_PLACED = Layout({"file": str, "line": int, "score": float}, prefix="found_")
_MOST_LINES = 3  # of a long match, on a terminal


class Match(NamedTuple):
    """A line or row of a file and its score, with its text and all columns."""

    file: str
    line: int
    score: float
    text: str
    values: Mapping[str, Any]


class Ranking(NamedTuple):
    """What is looked for and where, and how much of it is shown: what `ranking_options` adds."""

    query: str
    files: tuple[str, ...]
    top_k: int
    min_score: float | None
    full: bool

    def check(self) -> None:
        """Refuse an empty query (click.UsageError)."""
        if not self.query.strip():
            raise click.UsageError("the query is empty")


class Searched(NamedTuple):
    """How files are read and where what is found goes: what `searched_options` adds."""

    kind: str | None
    column: str
    encoding: str
    output: Path | None
    as_json: bool
    prefix: str | None

    def sources(self, files: Sequence[str]) -> list[Source]:
        """The files as sources; what is wrong with one of them, or with the output's name, is told here."""
        output_kind(self.output)
        found = [Source(file, (), self.kind, self.encoding, (self.column,)) for file in files]
        for source in found:
            _ = source.scan
        return found


def ranking_options(matches: str, min_score: str) -> Decorator:
    """Add QUERY, FILE..., --top-k, --min-score and --full.

    Args:
        matches: what --help calls what is found.
        min_score: what it says of --min-score.
    """
    return gathered(
        "ranking",
        Ranking,
        click.argument("query"),
        click.argument("files", type=TEXT_FILE, metavar="FILE...", nargs=-1, required=True),
        top_k_option(5, f"{matches} to print"),
        click.option("--min-score", type=float, help=min_score),
        click.option("--full", is_flag=True, help="Never shorten a line, even on a terminal."),
    )


def searched_options(command: Any) -> Any:
    """Add --format, --column, --encoding, --output, --json and --prefix."""
    return gathered(
        "searched",
        Searched,
        format_option,
        column_option,
        encoding_option,
        records_output_option,
        json_option("Print a JSON list of {file, line, score, text}, with all columns of what has columns."),
        prefix_option,
    )(command)


def find(
    ranking: Ranking,
    sources: Sequence[Source],
    chunk_size: int,
    scores: Callable[[list[str]], Iterable[float]],
) -> list[Match]:
    """Return the best matches of all sources, best first; blank texts are none.

    Args:
        ranking: how many, and how good at least.
        sources: where to look.
        chunk_size: texts at once.
        scores: of texts.
    """
    from minidistil.sentences.progress import progress

    best = Matches(ranking.top_k, ranking.min_score)
    with progress(total_of([source.scan.records for source in sources]), sys.stderr.isatty(), "lines", delay=1) as bar:
        for source in sources:
            for chunk in source.batches(chunk_size):
                texts = [record.values[source.columns[0]] for record in chunk]
                filled = [(r, text) for r, text in zip(chunk, texts, strict=True) if text is not None and text.strip()]
                if filled:
                    best.add(
                        Match(source.file, record.line, float(score), text, record.values)
                        for (record, text), score in zip(filled, scores([text for _, text in filled]), strict=True)
                    )
                bar.update(len(chunk))
    return best.sorted()


def tell(matches: Sequence[Match], ranking: Ranking, searched: Searched) -> None:
    """Write what was found to the output, or print it for a program or for people."""
    if searched.output is not None:
        form = Form(_SCORED, searched.output, prefix=searched.prefix)
        answers = [(Record(f"{m.file}:{m.line}", m.values, m.line), Result([{"score": m.score}], "")) for m in matches]
        write_at_once(answers, form)
    elif searched.as_json:
        print_json(matches, searched.prefix)
    else:
        print_matches(matches, ranking.query, shorten=not ranking.full)


def total_of(counts: Sequence[int | None]) -> int | None:
    """Return the lines of all files, None where those of one are not known."""
    return None if None in counts else sum(count or 0 for count in counts)


class Matches:
    """The best `most` of all matches added; memory for those only. Of equal scores the first added wins."""

    def __init__(self, most: int, min_score: float | None) -> None:
        self._most = most
        self._min_score = min_score
        self._heap: list[tuple[float, int, Match]] = []
        self._added = 0

    def add(self, matches: Iterable[Match]) -> None:
        """Take more matches into account."""
        for match in matches:
            self._added += 1
            if self._min_score is not None and match.score < self._min_score:
                continue
            if len(self._heap) == self._most and match.score <= self._heap[0][0]:
                continue
            if hasattr(match.values, "alone"):  # the rest of its batch would be kept with it
                match = match._replace(values=match.values.alone())
            item = (match.score, -self._added, match)
            if len(self._heap) < self._most:
                heapq.heappush(self._heap, item)
            else:
                heapq.heappushpop(self._heap, item)

    def sorted(self) -> list[Match]:
        """Best first."""
        return [match for *_, match in sorted(self._heap, reverse=True)]


def print_json(matches: Sequence[Match], prefix: str | None) -> None:
    """Print a JSON list of {file, line, score} and the columns of each."""
    from minidistil.sentences.rows import as_json

    before = Form(_PLACED, as_json=True, prefix=prefix).chosen({name for match in matches for name in match.values})
    rows = [{**{before + name: getattr(match, name) for name in _PLACED.columns}, **match.values} for match in matches]
    click.echo(json.dumps(rows, ensure_ascii=False, indent=2, default=as_json))


def print_matches(matches: Sequence[Match], query: str, shorten: bool) -> None:
    """Print `file:line score text`; on a terminal coloured, wrapped, and long lines shortened where asked."""
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns
    for match in matches:
        place, score = f"{display_name(match.file)}:{match.line}", f"{match.score:.3f}"
        text = printable(match.text).strip()
        if not terminal:
            click.echo(f"{place} {score} {text}")
            continue
        indent = "    "
        lines = textwrap.wrap(
            text,
            max(width, 40),
            initial_indent=indent,
            subsequent_indent=indent,
            max_lines=_MOST_LINES if shorten else None,
            placeholder=" …",
        )
        click.echo(f"{click.style(place, fg='cyan')} {click.style(score, fg='green', bold=True)}")
        click.echo("\n".join(_highlight(line, query) for line in lines))


def _highlight(line: str, query: str) -> str:
    """The line with the query's own words set off: meaning finds the line, but the words are what the eye looks for."""
    words = {word for word in re.findall(r"\w+", query) if len(word) > 3}
    if not words:
        return line
    pattern = rf"\b(?:{'|'.join(map(re.escape, words))})\b"
    return re.sub(pattern, lambda found: click.style(found[0], bold=True), line, flags=re.IGNORECASE)
