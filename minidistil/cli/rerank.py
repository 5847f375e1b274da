"""`minidistil rerank`: texts ordered by a model that reads each of them together with the query."""

from __future__ import annotations

from typing import Any

import click

from minidistil.cli.matches import Ranking, Searched, find, ranking_options, searched_options, tell
from minidistil.cli.options import model_options
from minidistil.cli.text import warn_of_cut

_CHUNK = 64  # lines at once: a pair takes as long as many embeddings, and the bar should move


@click.command(short_help="Order lines of files by how well they answer a query.")
@ranking_options("Lines", min_score="Leave out lines with a lower score.")
@searched_options
@model_options(default_sentence_model=False)
def rerank(
    ranking: Ranking,
    searched: Searched,
    model: str,
    **options: Any,
) -> None:
    """Order the lines of FILE... by how well they answer QUERY, with a cross-encoder, which reads both together.

    Better than `search` and much slower: for the lines that a search has found, rather than for all there are. FILE is
    text, CSV, JSON lines, Parquet or Arrow; `-` is standard input. Prints file:line, score and text, best first;
    OUTPUT gets the input's own columns, and the score. Blank lines are skipped.

    \b
    Example:
      minidistil rerank "who may vote?" example:amendments -m rerank
    """
    from minidistil.sentences import CrossEncoder

    ranking.check()
    sources = searched.sources(ranking.files)  # what is wrong with them is told before a model is loaded
    reader = CrossEncoder(model, **options)
    if reader.num_labels != 1:
        raise click.UsageError(
            f"{model} gives {reader.num_labels} scores for a pair; to rank takes a model with one; "
            "`minidistil classify` is for it"
        )

    def scores(texts: list[str]) -> Any:
        return reader.predict([(ranking.query, text) for text in texts], truncation=True)

    matches = find(ranking, sources, _CHUNK, scores)
    warn_of_cut(reader.truncated, "pair", f"cut to {reader.max_length} tokens")
    tell(matches, ranking, searched)
