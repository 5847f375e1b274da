"""Files that embeddings are appended to: whole after every append, and opened again to go on where they end.

A sink writes beside its name, to NAME.partial, and takes its name when it is finished and on the disk. What it has
counts from one assignment after the bytes are in the file, so wherever an interruption falls, rows and count agree once
it is closed. Which of them a later process may go on with, the journal says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidistil._loading import loading
from minidistil.sentences.disk import sync, sync_folder, write_at

_NPY_MAGIC = b"\x93NUMPY\x01\x00"
_NPY_HEADER_BYTES = 128  # in all: room for the row count to grow in place
_ARROW_ROWS = 256  # in a batch of a finished file: what readers take at once


class Sink:
    """A file of embeddings that grows.

    Args:
        path: where the finished file is to lie.
        width: numbers in an embedding.
        dtype: of them: float32, int8 or uint8.
        done: embeddings to keep of NAME.partial, and where they end in it; with none it is written anew.

    Raises:
        OSError: the file cannot be opened for writing.
        ValueError: what is to be kept has another layout.
    """

    def __init__(self, path: Path, width: int, dtype: Any, *, done: tuple[int, int] = (0, 0)) -> None:
        self.path = path
        self.partial = partial_path(path)
        self.width = width
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self._file = self.partial.open("r+b" if done[0] else "w+b", buffering=0)
        self._done = done  # rows, and the place where they end; one assignment, so that they always agree
        try:
            if self.rows:
                self._compare_header()
            else:
                header = self._header(0)
                write_at(self._file, 0, header)
                self._done = (0, len(header))
                sync_folder(path.parent)
        except BaseException:
            self._file.close()
            raise

    @property
    def rows(self) -> int:
        """How many embeddings the file holds."""
        return self._done[0]

    @property
    def end(self) -> int:
        """Where they end in it."""
        return self._done[1]

    def append(self, texts: Sequence[str], embeddings: np.ndarray) -> bytes:
        """Write one embedding [n, width] per text; returns what was written at `end`."""
        rows, end = self._done
        data = self._encode(texts, np.ascontiguousarray(embeddings, self.dtype))
        write_at(self._file, end, data)
        self._done = (rows + len(texts), end + len(data))
        self._count()
        return data

    def sync(self) -> None:
        """Return when what was appended is on the disk."""
        sync(self._file)

    def finish(self) -> None:
        """Give the file its name, when all of it is on the disk; nothing can be appended afterwards."""
        self._close(sync=True)
        self.partial.replace(self.path)
        sync_folder(self.path.parent)

    def abandon(self, done: tuple[int, int] | None = None) -> str:
        """Close the file with what it holds, or with no more than `done`, or remove it where that is nothing.

        Returns:
            In words where the embeddings lie.
        """
        self._done = self._done if done is None else done
        self._close()
        if not self.rows:
            self.partial.unlink(missing_ok=True)
            return "nothing was written"
        return f"the first {self.rows:,} embeddings are in {self.partial}"

    def _header(self, rows: int) -> bytes:
        """What stands before the first row."""
        return b""

    def _encode(self, texts: Sequence[str], embeddings: np.ndarray) -> bytes:
        """The rows as they stand in the file."""
        raise NotImplementedError

    def _compare_header(self) -> None:
        """Refuse a file that begins otherwise than this one would."""

    def _count(self) -> None:
        """Bring what the file says of its rows up to date."""

    def _close(self, *, sync: bool = False) -> None:
        if not self._file.closed:
            self._file.truncate(self.end)
            self._count()
            if sync:
                self.sync()
            self._file.close()


class NpySink(Sink):
    """A .npy file [rows, width]. The header counts what is there, so the partial file is a valid .npy too."""

    def _header(self, rows: int) -> bytes:
        return npy_header(rows, self.width, self.dtype)

    def _encode(self, texts: Sequence[str], embeddings: np.ndarray) -> bytes:
        return embeddings.tobytes()

    def _count(self) -> None:
        write_at(self._file, 0, self._header(self.rows))


class JsonLinesSink(Sink):
    """A line {"text": ..., "embedding": [...]} per text."""

    def _encode(self, texts: Sequence[str], embeddings: np.ndarray) -> bytes:
        return json_lines(texts, embeddings)


class ArrowSink(Sink):
    """An Arrow file with the columns `text` and `embedding` (a list of fixed size); needs pyarrow.

    The partial file is an Arrow stream, which can be gone on with, in batches as they were appended; finished, it is
    copied into the file format, which readers can map, in batches of one size.
    """

    def __init__(self, path: Path, width: int, dtype: Any, *, done: tuple[int, int] = (0, 0)) -> None:
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
        super().__init__(path, width, dtype, done=done)

    def finish(self) -> None:
        """Copy the stream into the file format, batch by batch, and give it its name."""
        self._close()
        copy = self.partial.with_name(self.partial.name + ".copy")
        ipc = self._arrow.ipc
        try:
            with (
                self._arrow.memory_map(str(self.partial)) as source,
                ipc.open_stream(source) as stream,
                ipc.new_file(str(copy), self._schema) as file,
            ):
                for batch in self._of_one_size(stream):
                    file.write_batch(batch)
            with copy.open("r+b") as written:
                sync(written)
        except BaseException:
            copy.unlink(missing_ok=True)
            raise
        copy.replace(self.path)
        self.partial.unlink()
        sync_folder(self.path.parent)

    def _of_one_size(self, stream: Iterable[Any]) -> Iterator[Any]:
        """Batches of `_ARROW_ROWS` rows and the rest, so that the file does not depend on how they were appended."""
        texts: list[str] = []
        rows = np.empty((0, self.width), self.dtype)
        for batch in stream:
            texts += batch.column(0).to_pylist()
            rows = np.concatenate([rows, batch.column(1).flatten().to_numpy().reshape(-1, self.width)])
            while len(texts) >= _ARROW_ROWS:
                yield self._batch(texts[:_ARROW_ROWS], rows[:_ARROW_ROWS])
                texts, rows = texts[_ARROW_ROWS:], rows[_ARROW_ROWS:]
        if texts:
            yield self._batch(texts, rows)

    def _batch(self, texts: Sequence[str], embeddings: np.ndarray) -> Any:
        flat = self._arrow.array(embeddings.reshape(-1))
        lists = self._arrow.FixedSizeListArray.from_arrays(flat, type=self._list)
        return self._arrow.record_batch([self._arrow.array(texts, self._arrow.string()), lists], schema=self._schema)

    def _header(self, rows: int) -> bytes:
        data: bytes = self._schema.serialize().to_pybytes()
        return data

    def _compare_header(self) -> None:
        header = self._header(0)
        self._file.seek(0)
        if self._file.read(len(header)) != header:
            raise ValueError(
                f"{self.partial} begins otherwise than this pyarrow ({self._arrow.__version__}) begins a file with "
                f"{self._schema}; go on with the one that it was begun with, or begin anew with resume=False"
            )

    def _encode(self, texts: Sequence[str], embeddings: np.ndarray) -> bytes:
        data: bytes = self._batch(texts, embeddings).serialize().to_pybytes()
        return data


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


def open_sink(kind: str, path: Path, width: int, dtype: Any, *, done: tuple[int, int] = (0, 0)) -> Sink:
    """Open a sink of a kind that `sink_kind` returns; see `Sink`."""
    return _KINDS[kind](path, width, dtype, done=done)


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
