"""The matches of a search: the best few kept, then printed for a person or for a program."""

from __future__ import annotations

import heapq
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import click

from minidistil.cli.kinds import TEXT_FILE
from minidistil.cli.options import Decorator, gathered, top_k_option
from minidistil.cli.text import display_name, printable

_MOST_LINES = 3  # of a long match, on a terminal


class Match(NamedTuple):
    """A line of a file and its score; of a row of CSV or a line of JSON, all columns as well."""

    file: str
    line: int
    score: float
    text: str
    columns: dict[str, Any] | None = None


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

    def print(self, matches: Sequence[Match], as_json: bool) -> None:
        """Print what was found, for a program or for people."""
        if as_json:
            print_json(matches)
        else:
            print_matches(matches, self.query, shorten=not self.full)


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
            item = (match.score, -self._added, match)
            if len(self._heap) < self._most:
                heapq.heappush(self._heap, item)
            else:
                heapq.heappushpop(self._heap, item)

    def sorted(self) -> list[Match]:
        """Best first."""
        return [match for *_, match in sorted(self._heap, reverse=True)]


def print_json(matches: Sequence[Match]) -> None:
    """Print a JSON list of {file, line, score, text}, or with all columns in place of the text."""
    rows = [{"file": m.file, "line": m.line, "score": m.score, **(m.columns or {"text": m.text})} for m in matches]
    click.echo(json.dumps(rows, ensure_ascii=False, indent=2))


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
