"""`minidistil classify` and `minidistil zero-shot`: labels for texts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from minidistil.cli.agreement import Agreement, print_report
from minidistil.cli.options import column_option, model_options, top_k_option
from minidistil.cli.records import Streams, Target, process, record_options
from minidistil.cli.text import place_shown, printable, shortened, warn_of_cut
from minidistil.cli.writing import Layout, Result
from minidistil.records.record import Record
from minidistil.records.sources import Source

_COLUMNS = {"label": str, "score": float}
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
@click.option(
    "--gold",
    metavar="COLUMN",
    help="Print how well the labels agree with those in COLUMN (names or numbers): accuracy and F1.",
)
@model_options(default_sentence_model=False, own_model=True)
def classify(
    streams: Streams,
    target: Target,
    top_k: int,
    all_labels: bool,
    column: str,
    pair_column: str | None,
    windows: str | None,
    gold: str | None,
    model: str,
    **options: Any,
) -> None:
    """Say which label each line of FILE (or of standard input) has, by a model trained for it.

    Without --model it is the package's own, which says whether reviews are positive or negative.

    FILE is text, CSV, JSON lines, Parquet or Arrow, and so is what is written: the input's own columns, and label and
    score, or predicted_label and predicted_score where it has one of these. A null text has no label. With --gold, what
    is printed is accuracy, macro F1, and precision, recall and F1 of each label; -o writes the labels.

    \b
    Example:
      minidistil classify example:reviews
    """
    from minidistil.pipelines import pipeline

    # A file that is missing is named before a model is loaded.
    source = streams.source(target, column, *((pair_column,) if pair_column else ()), labels=gold)
    layout = Layout(_COLUMNS, "labels" if all_labels or top_k > 1 else None)
    pipe = pipeline(
        "text-classification",
        model=model,
        truncation=True,
        pool_windows=windows,
        top_k=None if all_labels else top_k,
        **options,
    )

    agreement = None if gold is None else _agreement(pipe, gold, source)

    def answer(records: list[Record]) -> list[Result]:
        inputs = [
            {"text": r.values[column], "text_pair": r.values[pair_column]} if pair_column else r.values[column]
            for r in records
        ]
        answers = [found if isinstance(found, list) else [found] for found in pipe(inputs)]
        results = [_result(r, found, column) for r, found in zip(records, answers, strict=True)]
        return results if agreement is None else [replace(result, shown="") for result in results]

    def count(record: Record, result: Result) -> None:
        if agreement is not None:
            agreement.add(record.values[agreement.column], result.rows[0]["label"] if result.rows else None)

    silent = target if agreement is None else target._replace(as_json=False)
    process(source, answer, layout, silent, pipe.model, None if agreement is None else count)
    warn_of_cut(pipe.truncated, "text", _CUT)
    if agreement is not None:
        print_report(agreement.report(), target.as_json)


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
    target: Target,
    labels: str,
    template: str,
    multi_label: bool,
    windows: str | None,
    column: str,
    model: str,
    **options: Any,
) -> None:
    """Say which of LABELS fits each line of FILE (or of standard input), by a model of entailment.

    FILE is text, CSV, JSON lines, Parquet or Arrow, and so is what is written: the input's own columns, and each label
    and its score.

    \b
    Example:
      minidistil zero-shot example:amendments -l "voting, taxes" -m zero-shot
    """
    from minidistil.pipelines import pipeline

    source = streams.source(target, column)
    layout = Layout(_COLUMNS, "labels" if len([label for label in labels.split(",") if label.strip()]) > 1 else None)
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

    process(source, answer, layout, target, pipe.model)
    warn_of_cut(pipe.truncated, "text", _CUT)


def _agreement(pipe: Any, column: str, source: Source) -> Agreement:
    """What counts labels; values of the column that are none are told before anything is computed."""
    config = pipe.model.config
    if config.problem_type == "multi_label_classification" or config.num_labels == 1:
        raise click.UsageError("--gold takes a model that gives each text one of several labels; this one does not")
    agreement = Agreement(column, config.id2label)
    agreement.check(source.scan.labels)
    return agreement


def _result(record: Record, found: list[dict[str, Any]], column: str) -> Result:
    labels = "  ".join(
        f"{click.style(row['label'], bold=not i)} {click.style(format(row['score'], '.3f'), fg='green')}"
        for i, row in enumerate(found)
    )
    text = shortened(printable(record.values[column]).strip())
    return Result(found, f"{place_shown(record)}{labels}  {text}")
