"""`minidistil rerank`: lines of text ordered by a model that reads each of them together with the query."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import click

from minidistil.cli.matches import Match, Matches, print_json, print_matches
from minidistil.cli.options import json_option, model_options
from minidistil.cli.sentences import encoding_option
from minidistil.cli.text import chunks, count_lines, read_lines

_CHUNK = 64  # lines at once: a pair takes as long as many embeddings, and the bar should move


@click.command(short_help="Order lines of files by how well they answer a query.")
@click.argument("query")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--top-k", "-k", type=click.IntRange(min=1), default=5, show_default=True, help="Lines to print.")
@click.option("--min-score", type=float, help="Leave out lines with a lower score.")
@click.option("--full", is_flag=True, help="Never shorten a line, even on a terminal.")
@json_option("Print a JSON list of {file, line, score, text}.")
@encoding_option
@model_options(default_sentence_model=False)
def rerank(
    query: str,
    files: tuple[str, ...],
    top_k: int,
    min_score: float | None,
    full: bool,
    as_json: bool,
    encoding: str,
    model: str,
    **options: Any,
) -> None:
    """Order the lines of FILE... by how well they answer QUERY, with a cross-encoder, which reads both together.

    Better than `search` and much slower: for the lines that a search has found, rather than for all there are. Prints
    file:line, the score and the line, best first. Blank lines are skipped; `-` is standard input.

    \b
    Example:
      minidistil rerank "who may vote?" docs/examples/amendments.txt -m cross-encoder/ms-marco-MiniLM-L6-v2
    """
    from minidistil.sentences import CrossEncoder
    from minidistil.sentences.progress import progress

    if not query.strip():
        raise click.UsageError("the query is empty")
    counts = [count_lines(file) for file in files]  # also: a file that is missing is named before a model is loaded
    reader = CrossEncoder(model, **options)
    if reader.num_labels != 1:
        raise click.UsageError(f"{model} gives {reader.num_labels} scores for a pair; to rank takes a model with one")
    best = Matches(top_k, min_score)
    total = None if None in counts else sum(count or 0 for count in counts)
    with progress(total, sys.stderr.isatty(), "lines", delay=1) as bar:
        for file in files:
            for chunk in chunks(read_lines(file, encoding), _CHUNK):
                filled = [(number, text) for number, text in chunk if text.strip()]
                scores = reader.predict([(query, text) for _, text in filled], truncation=True)
                best.add(Match(file, number, float(s), text) for (number, text), s in zip(filled, scores, strict=True))
                bar.update(len(chunk))
    if reader.truncated:
        pairs = "pair was" if reader.truncated == 1 else "pairs were"
        warnings.warn(f"{reader.truncated:,} {pairs} cut to {reader.max_length} tokens", stacklevel=2)
    if as_json:
        print_json(best.sorted())
    else:
        print_matches(best.sorted(), query, shorten=not full)
