"""The group of commands."""

from __future__ import annotations

import click

from minidistil.cli.answers import qa
from minidistil.cli.bench import bench, pack
from minidistil.cli.checkpoints import inspect, verify, warmup
from minidistil.cli.completion import completion
from minidistil.cli.demo import demo
from minidistil.cli.entities import ner
from minidistil.cli.explain import explain
from minidistil.cli.labels import classify, zero_shot
from minidistil.cli.masks import fill_mask
from minidistil.cli.options import traceback_option
from minidistil.cli.quantize import quantize
from minidistil.cli.rerank import rerank
from minidistil.cli.sentences import embed, search
from minidistil.cli.training import distill, train


def _version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"minidistil {version('minidistil')}")
        context.exit()


@click.group(
    invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
@traceback_option
@click.pass_context
def app(context: click.Context) -> None:
    """CPU inference for DistilBERT and its family, with PyTorch's bits and without PyTorch.

    \b
    Example:
      minidistil search "free speech" example:amendments
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


COMMANDS = (
    demo,
    classify,
    ner,
    qa,
    zero_shot,
    fill_mask,
    embed,
    search,
    rerank,
    explain,
    inspect,
    verify,
    warmup,
    pack,
    quantize,
    bench,
    train,
    distill,
    completion,
)
for command in COMMANDS:
    app.add_command(traceback_option(command))
for command in train.commands.values():
    traceback_option(command)
