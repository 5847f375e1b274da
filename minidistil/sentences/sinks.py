"""Files that embeddings are appended to: whole after every append, and opened again to go on where they end.

A sink writes beside its name, to NAME.partial, and takes its name when it is finished. What it has counts from one
assignment after the bytes are in the file, so wherever an interruption falls, rows and count agree once it is closed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidistil.kernels.loading import loading

_NPY_MAGIC = b"\x93NUMPY\x01\x00"
_NPY_HEADER_BYTES = 128  # in all: room for the row count to grow in place
_BLOCK = 1 << 20


class Sink:
    """A file of embeddings that grows.

    Args:
        path: where the finished file is to lie.
        width: numbers in an embedding.
        dtype: of them: float32, int8 or uint8.
        resume: go on with NAME.partial, where there is one; else it is written anew.

    Raises:
        OSError: the file cannot be opened for writing.
    """

    def __init__(self, path: Path, width: int, dtype: Any, *, resume: bool = False) -> None:
        self.path = path
        self.partial = partial_path(path)
        self.width = width
        self.dtype = np.dtype(dtype).newbyteorder("<")
        again = resume and self.partial.exists()
        self._file = self.partial.open("r+b" if again else "w+b", buffering=0)
        self._done = (0, 0)  # rows, and the place where they end; one assignment, so that they always agree
        try:
            if again:
                self._done = self._find_end()
            if not self.rows:
                self._begin()
        except BaseException:
            self._file.close()
            raise

    @property
    def rows(self) -> int:
        """How many embeddings the file holds."""
        return self._done[0]

    def append(self, texts: Sequence[str], embeddings: np.ndarray) -> None:
        """Write one embedding [n, width] per text."""
        rows, end = self._done
        data = self._encode(texts, np.ascontiguousarray(embeddings, self.dtype))
        self._write(end, data)
        self._done = (rows + len(texts), end + len(data))
        self._count()

    def finish(self) -> None:
        """Give the file its name; nothing can be appended afterwards."""
        self._close()
        self.partial.replace(self.path)

    def abandon(self) -> str:
        """Close the file as it stands, or remove it where it holds nothing; says in words where the embeddings lie."""
        self._close()
        if not self.rows:
            self.partial.unlink(missing_ok=True)
            return "nothing was written"
        return f"the first {self.rows:,} embeddings are in {self.partial}"

    def _begin(self) -> None:
        """Write what stands before the first row."""

    def _encode(self, texts: Sequence[str], embeddings: np.ndarray) -> bytes:
        """The rows as they stand in the file."""
        raise NotImplementedError

    def _find_end(self) -> tuple[int, int]:
        """Rows that an earlier process left whole, and the place where they end."""
        raise NotImplementedError

    def _count(self) -> None:
        """Bring what the file says of its rows up to date."""

    def _write(self, at: int, data: bytes) -> None:
        self._file.seek(at)
        rest = memoryview(data)
        while rest:  # an unbuffered write may take less than it is given
            rest = rest[self._file.write(rest) :]

    def _close(self) -> None:
        if not self._file.closed:
            self._file.truncate(self._done[1])
            self._count()
            self._file.close()


class NpySink(Sink):
    """A .npy file [rows, width]. The header counts what is there, so the partial file is a valid .npy too."""

    def _begin(self) -> None:
        self._write(0, npy_header(0, self.width, self.dtype))
        self._done = (0, _NPY_HEADER_BYTES)

    def _encode(self, texts: Sequence[str], embeddings: np.ndarray) -> bytes:
        return embeddings.tobytes()

    def _find_end(self) -> tuple[int, int]:
        row = self.width * self.dtype.itemsize
        size = self._file.seek(0, 2)
        rows = max(0, size - _NPY_HEADER_BYTES) // row if row else 0
        return rows, _NPY_HEADER_BYTES + rows * row

    def _count(self) -> None:
        self._write(0, npy_header(self.rows, self.width, self.dtype))


class JsonLinesSink(Sink):
    """A line {"text": ..., "embedding": [...]} per text."""

    def _encode(self, texts: Sequence[str], embeddings: np.ndarray) -> bytes:
        return json_lines(texts, embeddings)

    def _find_end(self) -> tuple[int, int]:
        rows = end = at = 0
        self._file.seek(0)
        while block := self._file.read(_BLOCK):
            rows += block.count(b"\n")
            end = at + block.rindex(b"\n") + 1 if b"\n" in block else end
            at += len(block)
        return rows, end


class ArrowSink(Sink):
    """An Arrow file with the columns `text` and `embedding` (a list of fixed size); needs pyarrow.

    The partial file is an Arrow stream, which can be gone on with; finished, it is copied into the file format, which
    readers can map.
    """

    def __init__(self, path: Path, width: int, dtype: Any, *, resume: bool = False) -> None:
        try:
            with loading():
                import pyarrow
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"writing {path.name} needs pyarrow: pip install pyarrow, or write a .npy or .jsonl file",
                name="pyarrow",
            ) from error
        self._arrow = pyarrow
        self._list = pyarrow.list_(pyarrow.from_numpy_dtype(np.dtype(dtype)), width)
        self._schema = pyarrow.schema([("text", pyarrow.string()), ("embedding", self._list)])
        super().__init__(path, width, dtype, resume=resume)

    def finish(self) -> None:
        """Copy the stream into the file format, batch by batch, and give it its name."""
        self._close()
        copy = self.partial.with_name(self.partial.name + ".copy")
        ipc = self._arrow.ipc
        with (
            self._arrow.memory_map(str(self.partial)) as source,
            ipc.open_stream(source) as stream,
            ipc.new_file(str(copy), self._schema) as file,
        ):
            for batch in stream:
                file.write_batch(batch)
        copy.replace(self.path)
        self.partial.unlink()

    def _begin(self) -> None:
        data = self._schema.serialize().to_pybytes()
        self._write(0, data)
        self._done = (0, len(data))

    def _encode(self, texts: Sequence[str], embeddings: np.ndarray) -> bytes:
        flat = self._arrow.array(embeddings.reshape(-1))
        lists = self._arrow.FixedSizeListArray.from_arrays(flat, type=self._list)
        batch = self._arrow.record_batch([self._arrow.array(texts, self._arrow.string()), lists], schema=self._schema)
        data: bytes = batch.serialize().to_pybytes()
        return data

    def _find_end(self) -> tuple[int, int]:
        rows = end = 0
        try:
            with self._arrow.memory_map(str(self.partial)) as source, self._arrow.ipc.open_stream(source) as stream:
                if stream.schema != self._schema:
                    raise ValueError(f"{self.partial} has other columns than {self._schema}")
                while True:
                    rows, end = rows + stream.read_next_batch().num_rows, source.tell()
        except (StopIteration, OSError, self._arrow.ArrowInvalid):  # its end, or where an interruption fell
            return rows, end


_KINDS: dict[str, type[Sink]] = {"npy": NpySink, "jsonl": JsonLinesSink, "arrow": ArrowSink}
SUFFIXES = {".npy": "npy", ".jsonl": "jsonl", ".ndjson": "jsonl", ".arrow": "arrow", ".feather": "arrow"}


def partial_path(path: Path) -> Path:
    """Where a file lies until it is finished."""
    return path.with_name(path.name + ".partial")


def sink_kind(path: Path, file_format: str | None = None) -> str:
    """Return "npy", "jsonl" or "arrow": what is asked for, else by the suffix: .npy; .jsonl, .ndjson; .arrow, .feather.

    Raises:
        ValueError: an unknown format or suffix.
    """
    kind = SUFFIXES.get(path.suffix.lower()) if file_format is None else file_format
    if kind is None or kind not in _KINDS:
        found = f"{path.name!r} ends in none of {', '.join(SUFFIXES)}" if file_format is None else repr(file_format)
        raise ValueError(f"the format must be one of {', '.join(_KINDS)}: {found}")
    return kind


def open_sink(kind: str, path: Path, width: int, dtype: Any, *, resume: bool = False) -> Sink:
    """Open a sink of a kind that `sink_kind` returns; see `Sink`."""
    return _KINDS[kind](path, width, dtype, resume=resume)


def json_lines(texts: Sequence[str], embeddings: np.ndarray) -> bytes:
    """A line of JSON per text; numbers have the fewest digits that give the same float32 back."""
    lines = []
    for text, row in zip(texts, embeddings, strict=True):
        numbers = ", ".join(map(str, row))  # str of a float32 is its shortest form
        lines.append(f'{{"text": {json.dumps(text, ensure_ascii=False)}, "embedding": [{numbers}]}}\n')
    return "".join(lines).encode("utf-8", "surrogatepass")


def npy_header(rows: int, width: int, dtype: Any = np.float32) -> bytes:
    """The header of a .npy file, format 1.0, of an array [rows, width]; always 128 bytes long."""
    descr = np.dtype(dtype).newbyteorder("<").str
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {width}), }}".encode("ascii")
    room = _NPY_HEADER_BYTES - len(_NPY_MAGIC) - 2
    return _NPY_MAGIC + room.to_bytes(2, "little") + text.ljust(room - 1) + b"\n"
