"""Where `embed` puts its rows: files that are whole after every write, so that nothing is lost when it is cut short."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

import click
import numpy as np

_NPY_MAGIC = b"\x93NUMPY\x01\x00"
_NPY_HEADER_BYTES = 128  # in all: room for the row count to grow in place


class Writer(Protocol):
    """Takes embeddings as they are made."""

    rows: int

    def append(self, texts: Sequence[str], embeddings: np.ndarray) -> None:
        """Write one row per text, float32 [n, D]."""
        ...

    def finish(self) -> None:
        """Give the file its name; nothing can be appended afterwards."""
        ...

    def abandon(self) -> str:
        """Close the file as it stands; says in words where the finished rows lie."""
        ...


class NpyWriter:
    """A float32 .npy file [rows, D] that grows.

    It is written beside its name, as NAME.partial, and renamed at the end. After each append the header counts what
    the file holds, so the partial file is a valid .npy too.
    """

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._file = _create(self._partial)
        self._width: int | None = None

    def append(self, texts: Sequence[str], embeddings: np.ndarray) -> None:
        """Write one row per text, float32 [n, D]; the texts themselves are not kept."""
        if self._width is None:
            self._file.write(npy_header(0, int(embeddings.shape[1])))
            self._width = int(embeddings.shape[1])
        self._file.seek(_NPY_HEADER_BYTES + self.rows * self._width * 4)
        self._file.write(np.ascontiguousarray(embeddings, dtype="<f4").tobytes())
        self._file.flush()  # rows before their count: a reader never finds fewer rows than the header says
        self.rows += len(texts)
        self._count_rows()

    def finish(self) -> None:
        """Give the file its name."""
        if self._width is None:
            self._file.write(npy_header(0, 0))
        self._file.close()
        self._partial.replace(self._path)

    def abandon(self) -> str:
        """Close the file; a partial one without a row is removed."""
        if self.rows:
            self._count_rows()  # the interruption may have come between rows and count
        self._file.close()
        if not self.rows:
            self._partial.unlink(missing_ok=True)
            return "nothing was written"
        return f"the first {self.rows:,} embeddings are in {self._partial}"

    def _count_rows(self) -> None:
        self._file.seek(0)
        self._file.write(npy_header(self.rows, self._width or 0))
        self._file.flush()


class JsonLinesWriter:
    """A line {"text": ..., "embedding": [...]} per text, to a file (NAME.partial until the end) or standard output."""

    def __init__(self, path: Path | None) -> None:
        self.rows = 0
        self._path = path
        self._partial = path.with_name(path.name + ".partial") if path else None
        self._file: IO[bytes] = _create(self._partial) if self._partial else sys.stdout.buffer
        self._end = 0  # of the last whole line

    def append(self, texts: Sequence[str], embeddings: np.ndarray) -> None:
        """Write one line per text; numbers have the fewest digits that give the same float32 back."""
        for text, row in zip(texts, embeddings, strict=True):
            numbers = ", ".join(map(str, row))  # str of a float32 is its shortest form
            self._file.write(f'{{"text": {json.dumps(text, ensure_ascii=False)}, "embedding": [{numbers}]}}\n'.encode())
        self._file.flush()
        self._end, self.rows = self._file.tell() if self._partial else 0, self.rows + len(texts)

    def finish(self) -> None:
        """Give the file its name."""
        if self._partial and self._path:
            self._file.close()
            self._partial.replace(self._path)

    def abandon(self) -> str:
        """Close the file; a partial one without a row is removed."""
        if not self._partial:
            return f"{self.rows:,} embeddings were printed"
        self._file.truncate(self._end)
        self._file.close()
        if not self.rows:
            self._partial.unlink(missing_ok=True)
            return "nothing was written"
        return f"the first {self.rows:,} embeddings are in {self._partial}"


def npy_header(rows: int, width: int) -> bytes:
    """The header of a .npy file, format 1.0, of float32 [rows, width]; always 128 bytes long."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}".encode("ascii")
    room = _NPY_HEADER_BYTES - len(_NPY_MAGIC) - 2
    return _NPY_MAGIC + room.to_bytes(2, "little") + text.ljust(room - 1) + b"\n"


def _create(path: Path) -> IO[bytes]:
    try:
        return path.open("wb")
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error
