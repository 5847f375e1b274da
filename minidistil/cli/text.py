"""Text on the terminal, and the names of encodings."""

from __future__ import annotations

import codecs
import shutil
import sys
import warnings

import click

from minidistil.records.record import Record

_CONTROLS = dict.fromkeys([*range(32), *range(127, 160), 0x2028, 0x2029], " ")


def place_shown(record: Record) -> str:
    """Where a record is from, coloured and with a space behind it; nothing for a text of the command line."""
    return click.style(record.place, fg="cyan") + " " if record.place else ""


def warn_of_cut(count: int, unit: str, how: str) -> None:
    """Say once, at the end, how many texts (or what `unit` is) were too long, where any were."""
    if count:
        warnings.warn(f"{count:,} {unit}{' was' if count == 1 else 's were'} {how}", stacklevel=2)


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
