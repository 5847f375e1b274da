"""`minidistil explain`: one pass over a text, number by number, as a page or on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from minidistil.cli.options import model_options, output_option


@click.command(short_help="Show every number of one pass over a text.")
@click.argument("text")
@click.argument("text2", required=False)
@output_option("The page, one HTML file that needs no network")
@click.option("--text", "as_text", is_flag=True, help="Print pieces, the lens and the clearest heads as tables.")
@click.option("--near", multiple=True, metavar="SENTENCE", help="A sentence with a word of TEXT; may be given again.")
@click.option("--word", help="The word to compare in them.  [default: the longest that all have]")
@model_options(default_sentence_model=False, own_model=True)
def explain(
    text: str,
    text2: str | None,
    output: Path | None,
    as_text: bool,
    near: tuple[str, ...],
    word: str | None,
    model: str,
    **options: Any,
) -> None:
    """Show what one pass does with TEXT, of at most 128 tokens, or with the pair TEXT and TEXT2.

    The page shows pieces, attention, what changes when a head or a token is taken away, what each layer would say,
    where single numbers come from to the last bit, and which tokens carry the answer. It is made with jinja2, of the
    extra `explain`.

    \b
    Example:
      minidistil explain "Paris is the [MASK] of France." -m fill-mask -o page.html
    """
    if output is None and not as_text:
        raise click.UsageError("give --output FILE for the page, or --text for the terminal")
    if word is not None and not near:
        raise click.UsageError("--word is for --near, which was not given")
    if output is not None:
        _check_page()
        if not output.absolute().parent.is_dir():
            raise click.ClickException(f"{output.parent}: no such folder")
    from minidistil.sentences import load
    from minidistil.study import explain as explained

    found = explained(load(model, **options), text, text2, neighbours=near, word=word)
    if as_text:
        click.echo(found.text(), nl=False)
    if output is not None:
        found.save(output)
        click.echo(
            f"{output}: {output.stat().st_size / 1e3:,.0f} kB", err=as_text
        )  # the tables alone on standard output


def _check_page() -> None:
    """Refuse where no page can be made, before anything is computed (ImportError)."""
    from minidistil.study.render import template

    template()
