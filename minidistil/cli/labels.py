"""`minidistil classify` and `minidistil zero-shot`: labels for texts."""

from __future__ import annotations

from typing import Any

import click

from minidistil.cli.options import column_option, model_options, top_k_option
from minidistil.cli.records import Record, Result, Streams, process, record_options
from minidistil.cli.text import printable, shortened, warn_of_cut

_ROW = ("label", "score")
_CUT = "too long for the model, and only the beginning read"
_windows_option = click.option(
    "--windows",
    type=click.Choice(["mean", "max"]),
    help="Read long texts to their end: the mean, or the highest, of the scores of their parts.",
)


@click.command(short_help="Say which label each text has.")
@record_options
@top_k_option(1, "Labels per text")
@click.option("--all", "all_labels", is_flag=True, help="All labels, whatever --top-k says.")
@column_option
@click.option("--pair-column", help="Where the second texts are, for models that read pairs.")
@_windows_option
@model_options(default_sentence_model=False)
def classify(
    streams: Streams,
    top_k: int,
    all_labels: bool,
    column: str,
    pair_column: str | None,
    windows: str | None,
    model: str,
    **options: Any,
) -> None:
    """Say which label each line of FILE (or of standard input) has, by a model trained for it.

    FILE is text, CSV or JSON lines, and so is what is written: the input's own columns, and label and score.

    \b
    Example:
      minidistil classify example:reviews -m sentiment
    """
    from minidistil.pipelines import pipeline

    # A file that is missing is named before a model is loaded.
    source = streams.source(column, *((pair_column,) if pair_column else ()))
    pipe = pipeline(
        "text-classification",
        model=model,
        truncation=True,
        pool_windows=windows,
        top_k=None if all_labels else top_k,
        **options,
    )

    def answer(records: list[Record]) -> list[Result]:
        inputs = [
            {"text": r.values[column], "text_pair": r.values[pair_column]} if pair_column else r.values[column]
            for r in records
        ]
        return [_result(r, found, column) for r, found in zip(records, pipe(inputs), strict=True)]

    process(source, answer, _ROW, streams.output, streams.as_json)
    warn_of_cut(pipe.truncated, "text", _CUT)


@click.command("zero-shot", short_help="Say which of any labels fits each text.")
@record_options
@click.option("--labels", "-l", required=True, help="The labels, separated by commas.")
@click.option(
    "--template", default="This example is {}.", show_default=True, help="What the model is asked; {} is the label."
)
@click.option("--multi-label", is_flag=True, help="Several labels may fit: score each for itself.")
@_windows_option
@column_option
@model_options(default_sentence_model=False)
def zero_shot(
    streams: Streams,
    labels: str,
    template: str,
    multi_label: bool,
    windows: str | None,
    column: str,
    model: str,
    **options: Any,
) -> None:
    """Say which of LABELS fits each line of FILE (or of standard input), by a model of entailment.

    FILE is text, CSV or JSON lines, and so is what is written: the input's own columns, and each label and its score.

    \b
    Example:
      minidistil zero-shot example:amendments -l "voting, taxes" -m zero-shot
    """
    from minidistil.pipelines import pipeline

    source = streams.source(column)
    pipe = pipeline(
        "zero-shot-classification",
        model=model,
        truncation=True,
        candidate_labels=labels,
        hypothesis_template=template,
        multi_label=multi_label,
        pool_windows=windows,
        **options,
    )

    def answer(records: list[Record]) -> list[Result]:
        answers = pipe([r.values[column] for r in records])
        rows = [
            [{"label": label, "score": score} for label, score in zip(a["labels"], a["scores"], strict=True)]
            for a in answers
        ]
        return [_result(r, found, column) for r, found in zip(records, rows, strict=True)]

    process(source, answer, _ROW, streams.output, streams.as_json)
    warn_of_cut(pipe.truncated, "text", _CUT)


def _result(record: Record, found: list[dict[str, Any]], column: str) -> Result:
    fields = dict(found[0]) if len(found) == 1 else {"labels": found}
    labels = "  ".join(
        f"{click.style(row['label'], bold=not i)} {click.style(format(row['score'], '.3f'), fg='green')}"
        for i, row in enumerate(found)
    )
    text = shortened(printable(record.values[column]).strip())
    return Result(fields, found, f"{record.place_shown()}{labels}  {text}")
