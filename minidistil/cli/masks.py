"""`minidistil fill-mask`."""

from __future__ import annotations

import json
from typing import Any

import click

from minidistil.cli.options import json_option, model_options, top_k_option


@click.command("fill-mask", short_help="Say what could stand at each [MASK] of a text.")
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
@top_k_option(5, "Candidates per mask")
@click.option("--targets", help="Only these words, separated by commas; their scores are not scaled up.")
@click.option("--windows", is_flag=True, help="Read long texts to their end, in windows that overlap by half.")
@json_option("Print a JSON list with an item per text.")
@model_options(default_sentence_model=False)
def fill_mask(
    texts: tuple[str, ...],
    top_k: int,
    targets: str | None,
    windows: bool,
    as_json: bool,
    model: str,
    **options: Any,
) -> None:
    """Say what could stand at each [MASK] of TEXT.

    \b
    Example:
      minidistil fill-mask "Paris is the [MASK] of France." -m fill-mask
    """
    from minidistil.pipelines import pipeline

    fill = pipeline("fill-mask", model=model, **options)
    wanted = [word.strip() for word in targets.split(",")] if targets else None
    own = {"top_k": top_k, "windows": windows, **({"targets": wanted} if wanted else {})}
    results = [fill(text, **own) for text in texts]
    if as_json:
        click.echo(json.dumps(results, ensure_ascii=False, indent=2))
        return
    for text, result in zip(texts, results, strict=True):
        _print(text, result)


def _print(text: str, result: list[Any]) -> None:
    masks = result if isinstance(result[0], list) else [result]
    click.secho(text, bold=True)
    for number, rows in enumerate(masks, 1):
        if len(masks) > 1:
            click.echo(f"  mask {number}")
        for row in rows:
            click.echo(f"  {row['score']:7.2%}  {row['token_str']}")
