"""`minidistil completion`: what makes a shell complete commands, options, models and files."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_MINIDISTIL_COMPLETE"  # with which the shell asks; click's own name for it


@click.command(short_help="Print what makes your shell complete commands.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete commands, options, names of models and of files.

    bash: put  eval "$(minidistil completion bash)"  into ~/.bashrc; zsh: the same with zsh into ~/.zshrc; fish: write
    it to ~/.config/fish/completions/minidistil.fish.

    \b
    Example:
      minidistil completion bash
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(context.find_root().command, {}, "minidistil", VARIABLE).source())


def answer(app: click.Command, instruction: str) -> int:
    """Answer a shell that asks how a line may go on; returns the exit status."""
    from click.shell_completion import shell_complete

    return shell_complete(app, {}, "minidistil", VARIABLE, instruction)
