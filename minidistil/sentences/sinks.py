"""Files that embeddings are appended to, of each format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidistil.sentences import tables
from minidistil.sentences.columns import import_pyarrow, vector_array
from minidistil.sentences.growing import Growing
from minidistil.sentences.rows import json_text
from minidistil.weights.disk import write_at

if TYPE_CHECKING:
    import pyarrow

INTO = "embedding"
_OTHERS = "write .parquet, .arrow or .jsonl"
_NPY_MAGIC = b"\x93NUMPY\x01\x00"
_NPY_HEADER_BYTES = 128  # in all: room for the row count to grow in place


class Sink(Growing):
    """A file of embeddings that grows.

    Args:
        path: where the finished file is to lie.
        width: numbers in an embedding.
        dtype: of them: float32, int8 or uint8.
        done: embeddings to keep of NAME.partial, and where they end in it; with none it is written anew.
        into: what the embeddings are called, where they have a name.
        schema: Arrow's, of the rows, where they have types; None for a text each.

    Raises:
        OSError: the file cannot be opened for writing.
        ValueError: what is to be kept has another layout.
    """

    what = "embeddings"

    def __init__(
        self,
        path: Path,
        width: int,
        dtype: Any,
        *,
        done: tuple[int, int] = (0, 0),
        into: str = INTO,
        schema: pyarrow.Schema | None = None,
    ) -> None:
        self.into = into
        self.width = width
        self.dtype = np.dtype(dtype).newbyteorder("<")
        super().__init__(path, done=done)

    def append(
        self, rows: Sequence[Mapping[str, Any]], embeddings: np.ndarray, present: np.ndarray | None = None
    ) -> bytes:
        """Write rows and their embeddings [n, width].

        Args:
            rows: what stands beside the embeddings, by column.
            embeddings: one for each.
            present: bool [n], False where there is no embedding; None for all.

        Returns:
            What was written at `end`.

        Raises:
            ValueError: an embedding is missing, and the file has no place for that; or a column does not fit.
        """
        there = np.ones(len(rows), bool) if present is None else present
        data = self._encode(rows, np.ascontiguousarray(embeddings, self.dtype), there)
        self.extend(data, len(rows))
        return data

    def _encode(self, rows: Sequence[Mapping[str, Any]], embeddings: np.ndarray, present: np.ndarray) -> bytes:
        """The rows as they stand in the file."""
        raise NotImplementedError


class NpySink(Sink):
    """A .npy file [rows, width]. The header counts what is there, so the partial file is a valid .npy too."""

    def _header(self, rows: int) -> bytes:
        return npy_header(rows, self.width, self.dtype)

    def _encode(self, rows: Sequence[Mapping[str, Any]], embeddings: np.ndarray, present: np.ndarray) -> bytes:
        if not present.all():
            row = self.rows + int(np.argmin(present))
            raise ValueError(f"row {row:,} (counted from 0) has no text, and a .npy file no place for that: {_OTHERS}")
        return embeddings.tobytes()

    def _count(self) -> None:
        write_at(self._file, 0, self._header(self.rows))


class JsonLinesSink(Sink):
    """A line {"text": ..., "embedding": [...]} per text, or with the columns of another row."""

    def _encode(self, rows: Sequence[Mapping[str, Any]], embeddings: np.ndarray, present: np.ndarray) -> bytes:
        return json_lines(rows, embeddings, present, self.into)


class TableSink(Sink):
    """A table of the rows' own columns and their embeddings, lists of a fixed size; needs pyarrow.

    The partial file is an Arrow stream, in batches as they were appended; see `tables`.
    """

    kind = "arrow"

    def __init__(
        self,
        path: Path,
        width: int,
        dtype: Any,
        *,
        done: tuple[int, int] = (0, 0),
        into: str = INTO,
        schema: pyarrow.Schema | None = None,
    ) -> None:
        arrow = self._arrow = import_pyarrow()
        self._rows_schema = arrow.schema([("text", arrow.string())]) if schema is None else schema
        self._list = arrow.list_(arrow.from_numpy_dtype(np.dtype(dtype)), width)
        self._schema = self._rows_schema.append(arrow.field(into, self._list))
        tables.check_kind(self.kind, self._schema)
        self._start = tables.stream_header(self._schema)
        super().__init__(path, width, dtype, done=done, into=into)

    def finish(self) -> None:
        """Copy the stream into the file's own format, batch by batch, and give it its name."""
        self._close()
        tables.finish(self.partial, self.path, self.kind)

    def _header(self, rows: int) -> bytes:
        return self._start

    def _compare_header(self) -> None:
        self._file.seek(0)
        if self._file.read(len(self._start)) != self._start:
            raise ValueError(
                f"{self.partial} begins otherwise than this pyarrow ({self._arrow.__version__}) begins a file with "
                f"{self._schema}; go on with the one that it was begun with, or begin anew with resume=False"
            )

    def _encode(self, rows: Sequence[Mapping[str, Any]], embeddings: np.ndarray, present: np.ndarray) -> bytes:
        kept = tables.record_batch(rows, self._rows_schema)
        columns = [*kept.columns, vector_array(embeddings, present, self._list)]
        return tables.stream_part(self._arrow.RecordBatch.from_arrays(columns, schema=self._schema), self._start)


class ParquetSink(TableSink):
    """The same as a Parquet file."""

    kind = "parquet"


_KINDS: dict[str, type[Sink]] = {
    "npy": NpySink,
    "jsonl": JsonLinesSink,
    "arrow": TableSink,
    "parquet": ParquetSink,
}
SUFFIXES = {
    ".npy": "npy",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".parquet": "parquet",
}


def sink_kind(path: Path, file_format: str | None = None) -> str:
    """Return "npy", "jsonl", "arrow" or "parquet": what is asked for, else by the suffix (`SUFFIXES`).

    Raises:
        ValueError: an unknown format or suffix.
    """
    kind = SUFFIXES.get(path.suffix.lower()) if file_format is None else file_format
    if kind is None or kind not in _KINDS:
        found = f"{path.name!r} ends in none of {', '.join(SUFFIXES)}" if file_format is None else repr(file_format)
        raise ValueError(f"the format must be one of {', '.join(_KINDS)}: {found}")
    return kind


def open_sink(
    kind: str,
    path: Path,
    width: int,
    dtype: Any,
    *,
    done: tuple[int, int] = (0, 0),
    into: str = INTO,
    schema: pyarrow.Schema | None = None,
) -> Sink:
    """Open a sink of a kind that `sink_kind` returns; see `Sink`. `schema` is of a table's rows; unset, a text each."""
    return _KINDS[kind](path, width, dtype, done=done, into=into, schema=schema)


def json_lines(
    rows: Sequence[Mapping[str, Any]], embeddings: np.ndarray, present: np.ndarray, into: str = INTO
) -> bytes:
    """A line of JSON per row; numbers have the fewest digits that give the same float32 back."""
    lines = []
    for values, row, there in zip(rows, embeddings, present.tolist(), strict=True):
        numbers = f"[{', '.join(map(str, row))}]" if there else "null"  # str of a float32 is its shortest form
        before = json_text(values)[:-1]
        lines.append(f"{before}{', ' * (before != '{')}{json.dumps(into, ensure_ascii=False)}: {numbers}}}\n")
    return "".join(lines).encode("utf-8", "surrogatepass")


def npy_header(rows: int, width: int, dtype: Any = np.float32) -> bytes:
    """The header of a .npy file, format 1.0, of an array [rows, width]; always 128 bytes long."""
    descr = np.dtype(dtype).newbyteorder("<").str
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {width}), }}".encode("ascii")
    room = _NPY_HEADER_BYTES - len(_NPY_MAGIC) - 2
    return _NPY_MAGIC + room.to_bytes(2, "little") + text.ljust(room - 1) + b"\n"
