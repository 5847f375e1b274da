"""Arrow and Parquet files: read batch by batch, written row by row beside results, in memory for a few batches.

What is written grows as an Arrow stream, NAME.partial, which can be gone on with at the end of any batch; finished, it
is copied into the format that its name says, in batches of one size, so that no byte depends on how it was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidistil.sentences.columns import import_parquet, import_pyarrow
from minidistil.weights.disk import sync, sync_folder

if TYPE_CHECKING:
    import pyarrow

READ_ROWS = 1024  # at once, of a Parquet file
ARROW_ROWS = 256  # in a batch of a finished file: what readers take at once
PARQUET_ROWS = 16384  # in a row group: 25 MB of 384 numbers a row
_END = 8  # bytes that end an Arrow stream
_FILE_MAGIC = b"ARROW1"
_FORMS = {"arrow": "Arrow", "parquet": "Parquet"}


class TableRow(Mapping[str, Any]):
    """A row of a record batch; its values become Python's when they are asked for."""

    __slots__ = ("batch", "index")

    def __init__(self, batch: pyarrow.RecordBatch, index: int) -> None:
        self.batch = batch
        self.index = index

    def __getitem__(self, name: str) -> Any:
        at = self.batch.schema.get_field_index(name)
        if at < 0:
            raise KeyError(name)
        scalar = self.batch.column(at)[self.index]
        try:
            return scalar.as_py()
        except ValueError:  # Python's times have no nanoseconds
            return scalar.cast(import_pyarrow().string()).as_py()

    def __iter__(self) -> Iterator[str]:
        return iter(self.batch.schema.names)

    def __len__(self) -> int:
        return int(self.batch.num_columns)

    def alone(self) -> TableRow:
        """The same row, without the batch that it is in."""
        return TableRow(self.batch.take([self.index]), 0)


class TableFile:
    """An Arrow file, an Arrow stream or a Parquet file.

    Args:
        file: its path, or an open file for an Arrow stream.
        kind: "arrow" or "parquet".
        name: what errors call it.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
        ValueError: it is none, or two of its columns have the same name.
    """

    def __init__(self, file: Path | Any, kind: str, name: str) -> None:
        self._file, self._kind, self._name = file, kind, name
        with self._explained():
            self._stream = None if isinstance(file, Path) else import_pyarrow().ipc.open_stream(file)
            with self._opened() as reader:
                self.schema: pyarrow.Schema = reader.schema_arrow if kind == "parquet" else reader.schema
                groups = reader.metadata if kind == "parquet" else None
                self._groups = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] if groups else []
        names = self.schema.names
        if len(set(names)) < len(names):
            raise ValueError(f"{name}: two columns have the same name: {', '.join(names)}")

    def batches(
        self, start: int = 0, stop: int | None = None, columns: Sequence[str] | None = None
    ) -> Iterator[pyarrow.RecordBatch]:
        """The rows from `start` to `stop`, of all columns or some; row groups before and after are not read.

        Raises:
            ValueError: the file is damaged.
        """
        with self._explained(), self._opened(columns) as reader:
            at = 0
            if self._kind == "parquet":
                groups, at = self._overlapping(start, stop)
                found = reader.iter_batches(READ_ROWS, row_groups=groups, columns=columns, use_threads=False)
            elif hasattr(reader, "num_record_batches"):
                found = (reader.get_batch(i) for i in range(reader.num_record_batches))
            else:
                found = iter(reader)
            for batch in found:
                end = at + batch.num_rows
                if stop is not None and at >= stop:
                    return
                if end > start:
                    first = max(start - at, 0)
                    yield batch.slice(first, (end if stop is None else min(end, stop)) - at - first)
                at = end

    def _overlapping(self, start: int, stop: int | None) -> tuple[list[int], int]:
        """The row groups with rows from `start` to `stop`, and the row that the first of them begins with."""
        at, first = 0, 0
        found: list[int] = []
        for i, rows in enumerate(self._groups):
            if at + rows > start and (stop is None or at < stop):
                first = first if found else at
                found.append(i)
            at += rows
        return found, first

    @contextmanager
    def _opened(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        arrow = import_pyarrow()
        if self._stream is not None:
            yield self._stream
        elif self._kind == "parquet":
            with import_parquet().ParquetFile(self._file, buffer_size=1 << 20) as reader:
                yield reader
        else:
            with self._file.open("rb") as begun:
                is_file = begun.read(len(_FILE_MAGIC)) == _FILE_MAGIC
            options = arrow.ipc.IpcReadOptions(use_threads=False)
            with arrow.OSFile(str(self._file)) as source:
                if columns is not None:
                    names = (arrow.ipc.open_file if is_file else arrow.ipc.open_stream)(source).schema.names
                    options.included_fields = [names.index(name) for name in columns]
                    source.seek(0)
                with (arrow.ipc.open_file if is_file else arrow.ipc.open_stream)(source, options=options) as reader:
                    yield reader

    @contextmanager
    def _explained(self) -> Iterator[None]:
        arrow = import_pyarrow()
        try:
            yield
        except arrow.ArrowNotImplementedError as error:
            raise ValueError(f"{self._name}: pyarrow {arrow.__version__} cannot read it: {error}") from error
        except (arrow.ArrowInvalid, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise ValueError(f"{self._name}: is no {_FORMS[self._kind]} file, or a damaged one: {error}") from error


def schema_of(rows: Sequence[Mapping[str, Any]]) -> pyarrow.Schema:
    """Return a schema that the rows have, in the order of their columns.

    Raises:
        ValueError: a column holds values that have no type in common.
    """
    arrow = import_pyarrow()
    schemas = {id(row.batch): row.batch.schema for row in rows if isinstance(row, TableRow)}
    if rows and all(isinstance(row, TableRow) for row in rows):
        first, *others = schemas.values()
        if all(other.equals(first) for other in others):
            return first
    fields = []
    for name in dict.fromkeys(name for row in rows for name in row):
        try:
            fields.append(arrow.field(name, arrow.array([row.get(name) for row in rows]).type))
        except (arrow.ArrowInvalid, arrow.ArrowTypeError) as error:
            raise ValueError(f"column {name!r} holds values that have no type in common: {error}") from error
    return arrow.schema(fields)


def common_schema(schemas: Sequence[pyarrow.Schema]) -> pyarrow.Schema:
    """Return what all schemas can be read as (ValueError where nothing can)."""
    arrow = import_pyarrow()
    try:
        return arrow.unify_schemas(list(schemas), promote_options="permissive")
    except (arrow.ArrowInvalid, arrow.ArrowTypeError) as error:
        raise ValueError(f"a column holds values that have no type in common: {error}") from error


def record_batch(rows: Sequence[Mapping[str, Any]], schema: pyarrow.Schema) -> pyarrow.RecordBatch:
    """Return rows as a record batch of that schema; rows that come from such batches pass through unchanged.

    Raises:
        ValueError: a column holds something that its type cannot.
    """
    arrow = import_pyarrow()
    batches = [row.batch for row in rows if isinstance(row, TableRow)]
    if rows and len(batches) == len(rows) and all(b is batches[0] or b.schema.equals(schema) for b in batches):
        return _taken(rows, schema)
    columns = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        try:
            columns.append(arrow.array(values, field.type))
        except (arrow.ArrowInvalid, arrow.ArrowTypeError, OverflowError) as error:
            raise ValueError(
                f"column {field.name!r} holds something other than {field.type}: {error}; write .jsonl"
            ) from error
    return arrow.RecordBatch.from_arrays(columns, schema=schema)


def _taken(rows: Sequence[Any], schema: pyarrow.Schema) -> pyarrow.RecordBatch:
    """Rows of record batches as one; slices, where they stand one after another."""
    arrow = import_pyarrow()
    parts, at = [], 0
    while at < len(rows):
        batch, first, end = rows[at].batch, rows[at].index, at + 1
        while end < len(rows) and rows[end].batch is batch and rows[end].index == first + end - at:
            end += 1
        parts.append(batch.slice(first, end - at))
        at = end
    if len(parts) == 1:
        return parts[0]
    return arrow.Table.from_batches(parts, schema).combine_chunks().to_batches()[0]


def check_kind(kind: str, schema: pyarrow.Schema) -> None:
    """Refuse a schema that a file of that kind cannot hold (ValueError), before anything is computed."""
    arrow = import_pyarrow()
    if kind != "parquet":
        return
    try:
        import_parquet().write_table(schema.empty_table(), arrow.BufferOutputStream())
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError) as error:
        raise ValueError(f"Parquet cannot hold these columns: {error}; write .arrow") from error


def stream_header(schema: pyarrow.Schema) -> bytes:
    """How an Arrow stream begins."""
    header: bytes = schema.serialize().to_pybytes()
    return header


def stream_part(batch: pyarrow.RecordBatch, header: bytes) -> bytes:
    """A batch as it stands in an Arrow stream that begins with `header`, with its dictionaries."""
    arrow = import_pyarrow()
    out = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(out, batch.schema) as stream:
        stream.write_batch(batch)
    data: bytes = out.getvalue().to_pybytes()
    assert data.startswith(header)
    return data[len(header) : -_END]


def finish(partial: Path, path: Path, kind: str) -> None:
    """Copy the Arrow stream `partial` into a file of that kind, which takes its name when it is on the disk."""
    arrow = import_pyarrow()
    copy = partial.with_name(partial.name + ".copy")
    try:
        with arrow.memory_map(str(partial)) as source, arrow.ipc.open_stream(source) as stream:
            (_copy_to_parquet if kind == "parquet" else _copy_to_arrow)(stream, copy)
        with copy.open("r+b") as written:
            sync(written)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    copy.replace(path)
    partial.unlink()
    sync_folder(path.parent)


def _copy_to_arrow(stream: Any, copy: Path) -> None:
    arrow = import_pyarrow()
    batches: Iterable[Any] = stream
    if any(_has_dictionary(field.type) for field in stream.schema):
        # The file format has one dictionary for all batches; the rest of this table stays mapped.
        batches = stream.read_all().unify_dictionaries().to_batches()
    with arrow.ipc.new_file(str(copy), stream.schema) as file:
        for table in _of_one_size(batches, stream.schema, ARROW_ROWS):
            file.write_table(table)


def _copy_to_parquet(stream: Any, copy: Path) -> None:
    schema, nested = stream.schema, import_pyarrow().types.is_nested
    names = [field.name for field in schema if not nested(field.type)]  # numbers of embeddings hardly come twice
    with import_parquet().ParquetWriter(copy, schema, use_dictionary=names) as file:
        for table in _of_one_size(stream, schema, PARQUET_ROWS):
            file.write_table(table, row_group_size=PARQUET_ROWS)


def _of_one_size(batches: Iterable[Any], schema: Any, rows: int) -> Iterator[Any]:
    """Tables of so many rows and the rest, each in one piece."""
    arrow = import_pyarrow()
    held: list[Any] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        while count >= rows:
            table = arrow.Table.from_batches(held, schema)
            yield _copied(table.slice(0, rows))
            held = table.slice(rows).to_batches()
            count -= rows
    if count:
        yield _copied(arrow.Table.from_batches(held, schema))


def _copied(table: Any) -> Any:
    """A table in one piece and in memory of its own: a slice would be written with some of what follows it."""
    arrow = import_pyarrow()
    columns = [arrow.concat_arrays([*c.chunks, c.chunks[0].slice(0, 0)]) for c in table.columns]
    return arrow.Table.from_arrays(columns, schema=table.schema)


def _has_dictionary(kind: Any) -> bool:
    types = import_pyarrow().types
    if types.is_dictionary(kind):
        return True
    return any(_has_dictionary(kind.field(i).type) for i in range(kind.num_fields))
