"""`minidistil rerank`: texts ordered by a model that reads each of them together with the query."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from minidistil.cli.matches import Match, Matches, Ranking, ranking_options, total_of
from minidistil.cli.options import column_option, encoding_option, json_option, model_options
from minidistil.cli.records import (
    Record,
    Result,
    Source,
    format_option,
    output_kind,
    records_output_option,
    refuse_overwriting,
    write,
)
from minidistil.cli.text import warn_of_cut

_CHUNK = 64  # lines at once: a pair takes as long as many embeddings, and the bar should move


@click.command(short_help="Order lines of files by how well they answer a query.")
@ranking_options("Lines", min_score="Leave out lines with a lower score.")
@format_option
@column_option
@encoding_option
@records_output_option
@json_option("Print a JSON list of {file, line, score, text}, with all columns of CSV or JSON lines.")
@model_options(default_sentence_model=False)
def rerank(
    ranking: Ranking,
    kind: str | None,
    column: str,
    encoding: str,
    output: Path | None,
    as_json: bool,
    model: str,
    **options: Any,
) -> None:
    """Order the lines of FILE... by how well they answer QUERY, with a cross-encoder, which reads both together.

    Better than `search` and much slower: for the lines that a search has found, rather than for all there are. FILE is
    text, CSV or JSON lines; `-` is standard input. Prints file:line, the score and the text, best first; OUTPUT gets
    the input's own columns, and the score. Blank lines are skipped.

    \b
    Example:
      minidistil rerank "who may vote?" example:amendments -m rerank
    """
    from minidistil.sentences import CrossEncoder
    from minidistil.sentences.progress import progress

    ranking.check()
    # An output that cannot be written, or a file that is missing, is named before a model is loaded.
    output_kind(output)
    sources = [Source(file, (), kind, encoding, (column,)) for file in ranking.files]
    counts = [source.count() for source in sources]
    added = ("score",) if output else ("file", "line", "score") if as_json else ()
    reader = CrossEncoder(model, **options)
    if reader.num_labels != 1:
        raise click.UsageError(
            f"{model} gives {reader.num_labels} scores for a pair; to rank takes a model with one; "
            "`minidistil classify` is for it"
        )
    best = Matches(ranking.top_k, ranking.min_score)
    with progress(total_of(counts), sys.stderr.isatty(), "lines", delay=1) as bar:
        for source in sources:
            for chunk in source.batches(_CHUNK):
                filled = [record for record in chunk if record.values[column].strip()]
                for record in filled:
                    refuse_overwriting(record, added)
                scores = reader.predict([(ranking.query, record.values[column]) for record in filled], truncation=True)
                best.add(
                    Match(source.file, record.line, float(score), record.values[column], record.values)
                    for record, score in zip(filled, scores, strict=True)
                )
                bar.update(len(chunk))
    warn_of_cut(reader.truncated, "pair", f"cut to {reader.max_length} tokens")
    if output is not None:
        write([[_result(match) for match in best.sorted()]], ("score",), output)
    else:
        ranking.print(best.sorted(), as_json)


def _result(match: Match) -> tuple[Record, Result]:
    record = Record(f"{match.file}:{match.line}", match.columns or {}, match.line)
    return record, Result({"score": match.score}, [{"score": match.score}], "")
