"""Lines of text files, with the file and the line named when they cannot be read."""

from __future__ import annotations

import codecs
import io
import os
import select
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from minidistil.records.errors import RecordError

T = TypeVar("T")

STANDARD_INPUT = "-"
EXAMPLE = "example:"  # before the name of a text that the package brings, where a file is expected
_EXAMPLES = Path(__file__).with_name("examples")
_READ = 1 << 16  # bytes that a pipe holds at most, mostly


class Lines:
    """Number, from 1, and text of each line of a file, without its line break; `-` is standard input.

    Only \\n and \\r\\n end a line: form feeds and the like are text. A byte order mark is skipped.

    Args:
        name: of the file, or `example:NAME`.
        encoding: of the text.

    Raises:
        RecordError: the file cannot be opened, or a line is not in `encoding`; file and line are named.
    """

    def __init__(self, name: str, encoding: str) -> None:
        self._name = name
        self._encoding = encoding
        self._source: _Pipe | None = None

    def wait(self) -> bool:
        """Whether the next line is waited for: that of a pipe or a terminal which has none at the moment."""
        return self._source is not None and self._source.empty()

    def as_they_come(self) -> Iterator[tuple[int, str] | None]:
        """The same, and None before a line that is waited for."""
        lines = iter(self)
        while True:
            if self.wait():
                yield None
            line = next(lines, None)
            if line is None:
                return
            yield line

    def __iter__(self) -> Iterator[tuple[int, str]]:
        name, encoding = self._name, self._encoding
        single = _breaks_are_single_bytes(encoding)
        with _open(name) as file:
            number = 0
            try:
                if single:
                    self._source = _Pipe(file) if _can_wait(file) else None
                    for number, data in enumerate(self._source or file, 1):
                        yield number, _without_break(data.decode(encoding), first=number == 1)
                else:
                    text = io.TextIOWrapper(file, encoding=encoding, newline="\n")
                    for number, line in enumerate(text, 1):
                        yield number, _without_break(line, first=number == 1)
                    text.detach()
            except UnicodeDecodeError as error:
                at = number if single else number + 1
                raise RecordError(_not_decoded(display_name(name), at, encoding, error)) from error
            except OSError as error:
                raise RecordError(f"{display_name(name)}: {error.strerror or error}") from error


def read_lines(name: str, encoding: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line, see `Lines`."""
    return iter(Lines(name, encoding))


def count_lines(name: str) -> int | None:
    """Lines of a file, or None for standard input and other streams that can be read only once.

    Raises:
        RecordError: the file cannot be opened.
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
    path = path_of(name)
    return name == STANDARD_INPUT or (path.exists() and not path.is_file() and not path.is_dir())


def chunks(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`, the last one shorter."""
    while chunk := list(islice(items, size)):
        yield chunk


def batches(items: Iterable[T | None], size: int) -> Iterator[list[T]]:
    """The items in lists of at most `size`; None among them, which says that the next is waited for, ends a list."""
    batch: list[T] = []
    for item in items:
        if item is not None:
            batch.append(item)
        if batch and (item is None or len(batch) == size):
            yield batch
            batch = []
    if batch:
        yield batch


def path_of(name: str) -> Path:
    """Where a file lies; that of a text which the package brings, where it is called `example:NAME`.

    Raises:
        RecordError: there is no example of that name; those there are are named.
    """
    if not name.startswith(EXAMPLE):
        return Path(name)
    if name not in examples():
        raise RecordError(f"there is no {name}; there are {', '.join(examples())}")
    return _examples()[name]


def examples() -> list[str]:
    """The texts that the package brings, as they are named where a file is expected."""
    return sorted(_examples())


def _examples() -> dict[str, Path]:
    return {EXAMPLE + path.stem: path for path in _EXAMPLES.glob("*.*")}


def display_name(name: str) -> str:
    """How messages call the file."""
    return "standard input" if name == STANDARD_INPUT else name


@contextmanager
def _open(name: str) -> Iterator[BinaryIO]:
    if name == STANDARD_INPUT:
        if sys.stdin is None:
            raise RecordError("standard input is closed; name a file")
        if sys.stdin.isatty():
            sys.stderr.write("minidistil: reading what you type, a text a line; Ctrl-D ends it\n")
        yield sys.stdin.buffer
        return
    try:
        file = path_of(name).open("rb")
    except IsADirectoryError as error:
        raise RecordError(f"{name}: is a folder; name the files in it") from error
    except OSError as error:
        raise RecordError(f"{name}: {error.strerror}") from error
    with file:
        yield file


class _Pipe:
    """The lines of what can be waited for, as bytes; `empty` says whether there is none at the moment."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._read = bytearray()
        self._ended = False

    def empty(self) -> bool:
        while b"\n" not in self._read and not self._ended:
            if not select.select([self._file], [], [], 0)[0]:
                return True
            self._fill()
        return False

    def __iter__(self) -> Iterator[bytes]:
        while True:
            while (end := self._read.find(b"\n") + 1) == 0 and not self._ended:
                self._fill()
            line = bytes(self._read[: end or None])
            if not line:
                return
            del self._read[: len(line)]
            yield line

    def _fill(self) -> None:
        data = self._file.read1(_READ)
        self._read += data
        self._ended = not data


def _can_wait(file: BinaryIO) -> bool:
    """Whether it is a pipe, a socket or a terminal."""
    try:
        return not stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (OSError, ValueError):  # memory, in the place of standard input
        return False


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
