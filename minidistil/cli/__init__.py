"""The command line: `minidistil`, or `python -m minidistil`.

Every error is one line on standard error and exit status 2; `--traceback`, or the environment variable
MINIDISTIL_TRACEBACK, shows where it came from. Status 1 is kept for a question answered no (`verify`), 130 for
Ctrl-C, 141 for a closed pipe: what a shell expects of a process that ends so.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence

INTERRUPTED = 130
BROKEN_PIPE = 141
FAILED = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Returns:
        The exit status: 0, 1 where `verify` found a difference, 2 after an error, 130 or 141 when cut short.
    """
    try:
        import click

        from minidistil.cli.app import app
        from minidistil.cli.completion import VARIABLE, answer
    except ModuleNotFoundError as error:
        if error.name not in ("click", "tqdm"):
            raise
        return _fail(f"the command line needs {error.name}, which is not installed: pip install click tqdm")
    if argv is None and (instruction := os.environ.get(VARIABLE)):
        return answer(app, instruction)
    settings = {"traceback": bool(os.environ.get("MINIDISTIL_TRACEBACK"))}
    try:
        with _library_in_one_line():
            # Not click's own main(), which has its own way with interrupts and closed pipes.
            arguments = list(sys.argv[1:] if argv is None else argv)
            with app.make_context("minidistil", arguments, obj=settings, color=_colours()) as context:
                app.invoke(context)
            sys.stdout.flush()
        return 0
    except click.exceptions.Exit as request:
        return request.exit_code
    except KeyboardInterrupt as error:
        return _fail(_with_note("interrupted", error), INTERRUPTED)
    except BrokenPipeError:
        _silence_standard_output()
        return BROKEN_PIPE
    except Exception as error:
        if settings["traceback"]:
            traceback.print_exc()
        return _fail(_with_note(_describe(error, settings["traceback"]), error))


def _colours() -> bool | None:
    """False where NO_COLOR (no-color.org) or a plain terminal asks for no colours; None leaves it to the stream."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def _describe(error: Exception, traced: bool) -> str:
    """The error as one line that says what to do."""
    import click

    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "minidistil"
        return f"{error.format_message()} (see {path} --help)"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    if isinstance(error, (ValueError, TypeError, ImportError, OSError, MemoryError)) and str(error):
        return str(error)
    trainer = sys.modules.get("minidistil.training.trainer")
    if trainer is not None and isinstance(error, trainer.TrainingError):
        return str(error)
    engine = sys.modules.get("minidistil.kernels.code.shipped")  # where it was not imported, it did not raise anything
    if engine is not None and isinstance(error, engine.Unavailable):
        return f"this needs the compiled engine, which cannot run here: {error}"
    hint = "" if traced else "; --traceback shows where"
    return f"unexpected {type(error).__name__}: {error}{hint}"


def _with_note(message: str, error: BaseException) -> str:
    """The message and the notes that the library left on the exception: what became of a file."""
    return "; ".join([message, *getattr(error, "__notes__", ())])


def _fail(message: str, status: int = FAILED) -> int:
    _say(message)
    return status


def _say(message: str) -> None:
    """Write a line to standard error, whatever lines the message has."""
    from minidistil.cli.words import in_words_of_the_shell

    message = in_words_of_the_shell(message)
    line = "; ".join(part.strip().removeprefix("- ") for part in message.splitlines() if part.strip())
    with contextlib.suppress(OSError):
        sys.stderr.write(f"minidistil: {line.replace(':;', ':')}\n")


@contextlib.contextmanager
def _library_in_one_line() -> Iterator[None]:
    """Show the library's warnings and log messages like everything else here, a line each."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        _say(f"warning: {message}")

    def log(record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING or hasattr(record, "told"):
            _say(record.getMessage())
        elif hasattr(record, "compiled") and sys.stderr.isatty():
            done, of = record.compiled
            sys.stderr.write(f"\rminidistil: {done} of {of} kernels" + "\n" * (done == of))
            sys.stderr.flush()

    handler = logging.Handler()
    handler.emit = log  # type: ignore[method-assign]
    logger = logging.getLogger("minidistil")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(logging.INFO, level or logging.INFO))
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _silence_standard_output() -> None:
    """Point standard output away from the closed pipe, so that the interpreter's last flush does not complain."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
