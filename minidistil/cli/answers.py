"""`minidistil qa`: answers to questions, found in texts."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from minidistil.cli.kinds import TEXT_FILE
from minidistil.cli.options import encoding_option, model_options, top_k_option
from minidistil.cli.records import Target, process, target_options
from minidistil.cli.text import printable
from minidistil.cli.writing import Layout, Result, output_kind
from minidistil.records.lines import STANDARD_INPUT, count_lines, display_name, read_lines
from minidistil.records.record import Record
from minidistil.records.sources import FLAT, TYPED, Source

_COLUMNS = {"answer": str, "score": float, "start": int, "end": int}
_AROUND = 60  # characters shown on each side of an answer, on a terminal


@click.command(short_help="Answer a question from texts.")
@click.argument("question", required=False)
@click.argument("files", type=TEXT_FILE, metavar="FILE...", nargs=-1)
@click.option(
    "--pairs",
    type=TEXT_FILE,
    help="In place of QUESTION and FILE: CSV, JSON lines, Parquet or Arrow with columns question and context.",
)
@top_k_option(1, "Answers to print")
@click.option("--no-answer", is_flag=True, help='Let "no answer" be one, for models trained so.')
@encoding_option
@target_options("Print JSON: a list of answers, or with --pairs a line per row.")
@model_options(default_sentence_model=False)
def qa(
    question: str | None,
    files: tuple[str, ...],
    pairs: str | None,
    top_k: int,
    no_answer: bool,
    encoding: str,
    target: Target,
    model: str,
    **options: Any,
) -> None:
    """Answer QUESTION from FILE... (or standard input), each of them a text of any length, read to its end.

    Prints file:line, the score and the answer, best first. With --pairs every row has a question and a context of its
    own, and OUTPUT or --json gets its columns and the answer.

    \b
    Example:
      minidistil qa "who may vote?" example:amendments -m qa
    """
    from minidistil.pipelines import pipeline

    if (question is None) == (pairs is None):
        raise click.UsageError("ask a QUESTION of FILE..., or give --pairs FILE with questions and contexts")
    if pairs is None and target.output is not None:
        raise click.UsageError("--output is for --pairs; the answers to one QUESTION are printed")
    settings = {"top_k": top_k, "handle_impossible_answer": no_answer, **options}
    if pairs is not None:
        kind = output_kind(target.output)
        columns = ("question", "context")
        source = Source(pairs, (), None, encoding, columns, typed=kind in TYPED, alike=kind in FLAT)
        _ = source.scan  # what is wrong with it is told before a model is loaded
        layout = Layout(_COLUMNS, "answers" if top_k > 1 else None)
        pipe = pipeline("question-answering", model=model, **settings)
        process(source, lambda records: _answer(pipe, records), layout, target, pipe.model)
        return
    assert question is not None
    if not question.strip():
        raise click.UsageError("the question is empty")
    names = files or (STANDARD_INPUT,)
    for name in names:
        count_lines(name)
    contexts = {name: "\n".join(text for _, text in read_lines(name, encoding)) for name in names}
    filled = {name: text for name, text in contexts.items() if text.strip()}
    if not filled:
        raise click.ClickException(f"there is no text in {', '.join(map(display_name, names))}")
    pipe = pipeline("question-answering", model=model, **settings)
    asked = [{"question": question, "context": text} for text in filled.values()]
    found = [
        {"file": name, "line": text.count("\n", 0, answer["start"]) + 1, **answer}
        for (name, text), answers in zip(filled.items(), map(_list, _all(pipe, asked)), strict=True)
        for answer in answers
    ]
    best = sorted(found, key=lambda answer: answer["score"], reverse=True)[:top_k]
    if target.as_json:
        click.echo(json.dumps(best, ensure_ascii=False, indent=2))
        return
    for answer in best:
        click.echo(_shown(answer, filled[answer["file"]]))


def _answer(pipe: Any, records: list[Record]) -> list[Result]:
    asked = [{name: record.values[name] for name in ("question", "context")} for record in records]
    results = []
    for record, answers in zip(records, map(_list, _all(pipe, asked)), strict=True):
        shown = "\n".join(
            f"{click.style(record.place, fg='cyan')} {click.style(format(a['score'], '.3f'), fg='green', bold=True)} "
            f"{_words(a) or '(no answer)'}"
            for a in answers
        )
        results.append(Result(answers, shown))
    return results


def _all(pipe: Any, asked: list[dict[str, str]]) -> list[Any]:
    found = pipe(asked)
    return [found] if len(asked) == 1 else list(found)


def _list(answer: Any) -> list[dict[str, Any]]:
    return answer if isinstance(answer, list) else [answer]


def _shown(answer: dict[str, Any], text: str) -> str:
    place = click.style(f"{display_name(answer['file'])}:{answer['line']}", fg="cyan")
    score = click.style(f"{answer['score']:.3f}", fg="green", bold=True)
    words, text = _words(answer), printable(text)
    if not words:
        return f"{display_name(answer['file'])} {score} (no answer)"
    if not sys.stdout.isatty():
        return f"{place} {score} {words}"
    first, last = max(0, answer["start"] - _AROUND), min(len(text), answer["end"] + _AROUND)
    around = f"{text[first : answer['start']]}{click.style(words, bold=True)}{text[answer['end'] : last]}"
    return f"{place} {score}\n    {'…' * (first > 0)}{around}{'…' * (last < len(text))}"


def _words(answer: dict[str, Any]) -> str:
    return " ".join(printable(answer["answer"]).split())
