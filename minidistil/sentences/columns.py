"""Arrow's columns: texts out of them, embeddings into them. pyarrow is imported here alone, when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from minidistil._loading import loading
from minidistil._options import is_one_of
from minidistil.sentences.quantization import PRECISIONS

if TYPE_CHECKING:
    import pyarrow

    from minidistil.sentences.encoder import SentenceEncoder

_VECTORS = ("fixed", "list")


def import_pyarrow() -> Any:
    """Return pyarrow; ModuleNotFoundError says how to install it."""
    try:
        with loading():
            import pyarrow
            import pyarrow.ipc
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise ModuleNotFoundError(
            'Arrow and Parquet need pyarrow, which is not installed: pip install "minidistil[arrow]"', name="pyarrow"
        ) from error
    return pyarrow


def import_parquet() -> Any:
    """Return pyarrow.parquet; ModuleNotFoundError says how to install it."""
    import_pyarrow()
    with loading():
        import pyarrow.parquet
    return pyarrow.parquet


def vector_type(
    encoder: SentenceEncoder, vectors: str = "fixed", precision: str = "float32", truncate_dim: int | None = None
) -> pyarrow.DataType:
    """Return Arrow's type of an embedding: a list, of a fixed size where `vectors` is "fixed"."""
    arrow = import_pyarrow()
    if not is_one_of(vectors, _VECTORS):
        raise ValueError(f"vectors must be one of {', '.join(_VECTORS)}, got {vectors!r}")
    number = arrow.from_numpy_dtype(np.dtype(PRECISIONS[precision]))
    return (
        arrow.list_(number, encoder.embedding_width(precision, truncate_dim))
        if vectors == "fixed"
        else (arrow.list_(number))
    )


def vector_array(embeddings: np.ndarray, present: np.ndarray, kind: pyarrow.DataType) -> pyarrow.Array:
    """Return embeddings [n, width] as an Arrow array of `kind`, null where `present`, bool [n], is False."""
    arrow = import_pyarrow()
    flat = arrow.array(np.ascontiguousarray(embeddings).reshape(-1))
    mask = None if present.all() else arrow.array(~present)
    if arrow.types.is_fixed_size_list(kind):
        return arrow.FixedSizeListArray.from_arrays(flat, type=kind, mask=mask)
    offsets = arrow.array(np.arange(len(embeddings) + 1, dtype=np.int32) * embeddings.shape[1], arrow.int32())
    return arrow.ListArray.from_arrays(offsets, flat, type=kind, mask=mask)


def check_columns(schema: pyarrow.Schema, columns: Iterable[str]) -> list[str]:
    """Return what is wrong with the columns of texts, in words: missing, there twice, or no text."""
    faults = []
    for column in columns:
        found = schema.get_all_field_indices(column)
        if not found:
            faults.append(f"no column {column!r} among {', '.join(schema.names) or '(none)'}")
        elif len(found) > 1:
            faults.append(f"{len(found)} columns are called {column!r}")
        elif not _is_text(schema.field(column).type):
            faults.append(f"column {column!r} is no text, but {schema.field(column).type}")
    return faults


def texts_of(batch: pyarrow.RecordBatch, column: str, first: int = 0) -> list[str | None]:
    """Return a column's texts, None for null; `first` is the number of the first row, for errors."""
    try:
        found: list[str | None] = batch.column(column).to_pylist()
    except UnicodeDecodeError as error:
        row, what = next(not_decoded(batch, column))
        raise ValueError(f"row {first + row} (counted from 0), column {column!r}: {what}") from error
    return found


def not_decoded(batch: pyarrow.RecordBatch, column: str) -> Iterator[tuple[int, str]]:
    """Rows of a column of texts that are no UTF-8, and in words why."""
    values = batch.column(column)
    checked = values.dictionary if import_pyarrow().types.is_dictionary(values.type) else values
    try:
        checked.validate(full=True)
    except import_pyarrow().ArrowInvalid:
        for row, value in enumerate(values):
            try:
                value.as_py()
            except UnicodeDecodeError as error:
                yield row, f"byte 0x{error.object[error.start]:02x} is not UTF-8"


def _is_text(kind: pyarrow.DataType) -> bool:
    types = import_pyarrow().types
    if types.is_dictionary(kind):
        kind = kind.value_type
    is_view = getattr(types, "is_string_view", None)
    return bool(types.is_string(kind) or types.is_large_string(kind) or (is_view is not None and is_view(kind)))
