"""`python -m benchmarks.own_model --data DIR --out DIR`: the recipe, step by step; what is done is not done again."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.own_model.data import Data
from benchmarks.own_model.settings import COMPARED, VOCABULARY
from benchmarks.own_model.steps import PACKAGE, STEPS, Recipe

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(context_settings={"show_default": True})
@click.option("--data", "folder", type=_FOLDER, required=True, help="Where imdb/ and sst2/ are.")
@click.option("--out", type=_FOLDER, default=Path("build/own_model"), help="A folder for each step.")
@click.option("--steps", help="Only these, separated by commas.  [default: all that the model takes]")
@click.option("--threads", type=int, help="To compute with.  [default: all]")
@click.option("--backend", type=click.Choice(["engine", "exact"]), help="exact: slow, the same bits.")
@click.option("--part", default=1.0, help="Share of all data, for a first try.")
@click.option("--pieces", default=VOCABULARY, help="Of the vocabulary.")
@click.option("--plan", is_flag=True, help="Only say what the steps take.")
@click.option("--gflops", default=275.0, help="Rate that --plan reckons with.")
@click.option("--table", is_flag=True, help="Only measure, and write the table of teacher and student.")
@click.option("--ablation", is_flag=True, help="Only train small variants of the student, and write their table.")
def main(
    folder: Path,
    out: Path,
    steps: str | None,
    threads: int | None,
    backend: str | None,
    part: float,
    pieces: int,
    plan: bool,
    gflops: float,
    table: bool,
    ablation: bool,
) -> None:
    """Make the package's own model."""
    recipe = Recipe(Data(folder, part), out, threads, backend, pieces)
    if plan:
        from benchmarks.own_model.plan import costs, markdown

        click.echo(markdown(costs(recipe.data), gflops))
        return
    if table or ablation:
        from benchmarks.own_model import tables

        click.echo(tables.ablation(recipe) if ablation else tables.comparison(recipe))
        return
    if steps is None:
        chosen = [name for name in STEPS if name not in COMPARED]
    else:
        chosen = [name.strip() for name in steps.split(",")]
    unknown = [name for name in chosen if name not in STEPS]
    if unknown:
        raise click.UsageError(f"there are no steps {', '.join(unknown)}; there are {', '.join(STEPS)}")
    for name in chosen:
        recipe.run(name)
    click.echo(f"the model: {out / 'package' / PACKAGE}", err=True)


if __name__ == "__main__":
    main()
