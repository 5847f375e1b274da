"""Lines of text files, with the file and the line named when they cannot be read."""

from __future__ import annotations

import codecs
import io
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

import click

T = TypeVar("T")

STANDARD_INPUT = "-"
_CONTROLS = dict.fromkeys([*range(32), *range(127, 160), 0x2028, 0x2029], " ")


def read_lines(name: str, encoding: str) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of each line, without its line break; `-` is standard input.

    Only \\n and \\r\\n end a line: form feeds and the like are text. A byte order mark is skipped.

    Raises:
        click.ClickException: the file cannot be opened, or a line is not in `encoding`; file and line are named.
    """
    with _open(name) as file:
        number = 0
        try:
            if _breaks_are_single_bytes(encoding):
                for number, data in enumerate(file, 1):
                    yield number, _without_break(data.decode(encoding), first=number == 1)
            else:
                text = io.TextIOWrapper(file, encoding=encoding, newline="\n")
                for number, line in enumerate(text, 1):
                    yield number, _without_break(line, first=number == 1)
                text.detach()
        except UnicodeDecodeError as error:
            at = number if _breaks_are_single_bytes(encoding) else number + 1
            raise click.ClickException(_not_decoded(display_name(name), at, encoding, error)) from error
        except OSError as error:
            raise click.ClickException(f"{display_name(name)}: {error.strerror or error}") from error


def count_lines(name: str) -> int | None:
    """Lines of a file, or None for standard input and other streams that can be read only once.

    Raises:
        click.ClickException: the file cannot be opened.
    """
    if is_stream(name):
        return None
    last = b"\n"
    lines = 0
    with _open(name) as file:
        while block := file.read(1 << 20):
            lines += block.count(b"\n")
            last = block[-1:]
    return lines + (last != b"\n")


def is_stream(name: str) -> bool:
    """Whether it can be read only once: standard input, a pipe."""
    return name == STANDARD_INPUT or (Path(name).exists() and not Path(name).is_file() and not Path(name).is_dir())


def chunks(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`, the last one shorter."""
    while chunk := list(islice(items, size)):
        yield chunk


def warn_of_cut(count: int, unit: str, how: str) -> None:
    """Say once, at the end, how many texts (or what `unit` is) were too long, where any were."""
    if count:
        warnings.warn(f"{count:,} {unit}{' was' if count == 1 else 's were'} {how}", stacklevel=2)


def display_name(name: str) -> str:
    """How messages call the file."""
    return "standard input" if name == STANDARD_INPUT else name


def printable(text: str) -> str:
    """The text in one line, its control characters as spaces: none may command the terminal. No character moves."""
    return text.translate(_CONTROLS)


def shortened(text: str) -> str:
    """The text, cut to a line's width on a terminal."""
    width = shutil.get_terminal_size().columns
    return text if len(text) <= width or not sys.stdout.isatty() else f"{text[: width - 1]}…"


def check_encoding(_: click.Context, __: click.Parameter, value: str) -> str:
    """Refuse an encoding that Python does not know, before anything is loaded (a click callback)."""
    try:
        codecs.lookup(value)
    except LookupError:
        raise click.BadParameter(f"{value!r} is no encoding that Python knows; utf-8, latin-1, utf-16 are") from None
    return value


@contextmanager
def _open(name: str) -> Iterator[BinaryIO]:
    if name == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 (closed below: opening and reading fail differently)
    except IsADirectoryError as error:
        raise click.ClickException(f"{name}: is a folder; name the files in it") from error
    except OSError as error:
        raise click.ClickException(f"{name}: {error.strerror}") from error
    with file:
        yield file


def _breaks_are_single_bytes(encoding: str) -> bool:
    return codecs.lookup(encoding).name in ("utf-8", "ascii") or len("\n".encode(encoding)) == 1


def _without_break(line: str, first: bool) -> str:
    if first:
        line = line.removeprefix("\ufeff")
    return line.removesuffix("\n").removesuffix("\r")


def _not_decoded(name: str, line: int, encoding: str, error: UnicodeDecodeError) -> str:
    data, at = error.object, error.start
    hint = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
    return f"{name}, line {line}: byte 0x{data[at]:02x} is not {encoding}; say what it is, such as --encoding {hint}"
