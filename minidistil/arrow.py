"""Embeddings for Arrow's record batches: the one function that Spark, Ray, Dask and plain pyarrow can call.

Needs pyarrow: pip install "minidistil[arrow]". It is imported by the functions, not with this module.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidistil._options import check_number, is_iterable
from minidistil.sentences.columns import check_columns, import_pyarrow, texts_of, vector_array, vector_type
from minidistil.sentences.streaming import CHUNK, as_encoder, encode_with_gaps
from minidistil.tokenization import warn_of_truncation

if TYPE_CHECKING:
    import pyarrow

    from minidistil.models.base import Model
    from minidistil.sentences.encoder import SentenceEncoder

__all__ = ["embed", "embedded_schema"]


def embed(
    batches: Iterable[pyarrow.RecordBatch],
    model: SentenceEncoder | Model[Any] | str | Path,
    *,
    column: str = "text",
    into: str = "embedding",
    vectors: str = "fixed",
    chunk_size: int = CHUNK,
    truncation: str | bool = "warn",
    **options: Any,
) -> Iterator[pyarrow.RecordBatch]:
    """Embed a column of record batches as they come; all their columns come out, and the embeddings behind them.

    A row's embedding has the bytes of `encode`, whatever batch it is in. Null becomes null. A batch of more rows than
    `chunk_size` comes out in parts, so that memory for a batch of yours and a chunk of ours is enough. With its options
    it can be pickled: `functools.partial(minidistil.arrow.embed, model="...", column="text")`.

    Args:
        batches: any iterable of `pyarrow.RecordBatch`, all of one schema.
        model: what `minidistil.load` returns, or its name: then each process loads it once, when it is first needed.
        column: where the texts are: a column of strings, or of a dictionary of strings.
        into: the name of the new column.
        vectors: "fixed" for lists of a fixed size (Arrow's FixedSizeList), "list" for lists, which Spark wants.
        chunk_size: most rows that are embedded at once.
        truncation: as for `SentenceEncoder.encode`; "warn" warns once, at the end.
        **options: `SentenceEncoder.encode`'s: `prompt_name`, `precision` ("float16" too), `truncate_dim`, ...

    Returns:
        An iterator over record batches of the schema that `embedded_schema` returns.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
        TypeError: something other than record batches, a column that holds no text, or an option that there is not.
        ValueError: no such column, or `into` is taken; else as `SentenceEncoder.encode`.
    """
    import_pyarrow()
    check_number("chunk_size", chunk_size)
    if hasattr(batches, "schema") or not is_iterable(batches):
        hint = "; a Table's are table.to_batches(), one batch goes into a list"
        raise TypeError(f"batches must be an iterable of pyarrow.RecordBatch, got {type(batches).__name__}{hint}")
    for name in ("output_value", "first_index"):
        if name in options:
            raise TypeError(f"embed has no {name}: it writes the embeddings of all rows")
    encoder = _loaded(model)
    encoder.encode([], truncation=truncation, **options)  # a wrong option is an error before any batch is read
    kind = vector_type(encoder, vectors, options.get("precision", "float32"), options.get("truncate_dim"))
    return _embedded(batches, encoder, column, into, kind, chunk_size, truncation, options)


def embedded_schema(
    schema: pyarrow.Schema,
    model: SentenceEncoder | Model[Any] | str | Path,
    *,
    into: str = "embedding",
    vectors: str = "fixed",
    precision: str = "float32",
    truncate_dim: int | None = None,
) -> pyarrow.Schema:
    """Return the schema of what `embed` makes of batches of `schema`, for engines that ask for it beforehand.

    Args:
        schema: of the batches that go in.
        model: as for `embed`, like the others.
        into: the name of the new column.
        vectors: "fixed" or "list".
        precision: of the numbers.
        truncate_dim: dimensions that are kept.

    Raises:
        ValueError: `into` is taken, or an unknown option.
    """
    return _appended(schema, into, vector_type(_loaded(model), vectors, precision, truncate_dim))


def _embedded(
    batches: Iterable[pyarrow.RecordBatch],
    encoder: SentenceEncoder,
    column: str,
    into: str,
    kind: pyarrow.DataType,
    chunk_size: int,
    truncation: str | bool,
    options: dict[str, Any],
) -> Iterator[pyarrow.RecordBatch]:
    arrow = import_pyarrow()
    schema, wanted = None, None
    row = cut = 0
    for batch in batches:
        if not isinstance(batch, arrow.RecordBatch):
            raise TypeError(f"batches must be of pyarrow.RecordBatch, got {type(batch).__name__}")
        if schema is None:
            schema, wanted = batch.schema, _checked(batch.schema, column, into, kind)
        elif not batch.schema.equals(schema):
            raise ValueError(
                f"the batch that begins at row {row} has another schema than those before it:\n"
                f"{batch.schema}\ninstead of\n{schema}"
            )
        for start in range(0, max(batch.num_rows, 1), chunk_size):
            part = batch.slice(start, chunk_size)
            texts = texts_of(part, column, row)
            before = encoder.truncated
            quiet = True if truncation in ("warn", True) else truncation
            embeddings, present = encode_with_gaps(encoder, texts, row, {**options, "truncation": quiet})
            cut += encoder.truncated - before
            row += len(texts)
            columns = [*part.columns, vector_array(embeddings, present, kind)]
            yield arrow.RecordBatch.from_arrays(columns, schema=wanted)
    if truncation == "warn":
        warn_of_truncation(cut, row, encoder.max_seq_length)


def _checked(schema: pyarrow.Schema, column: str, into: str, kind: pyarrow.DataType) -> pyarrow.Schema:
    """The schema of what comes out."""
    faults = check_columns(schema, [column])
    if faults:
        raise (TypeError if "is no text" in faults[0] else ValueError)("; ".join(faults))
    return _appended(schema, into, kind)


def _appended(schema: pyarrow.Schema, into: str, kind: pyarrow.DataType) -> pyarrow.Schema:
    if into in schema.names:
        raise ValueError(f"the batches have a column {into!r} already: name another with into=...")
    return schema.append(import_pyarrow().field(into, kind))


def _loaded(model: SentenceEncoder | Model[Any] | str | Path) -> SentenceEncoder:
    return _load_once(str(model)) if isinstance(model, (str, Path)) else as_encoder(model)


@functools.lru_cache(maxsize=4)
def _load_once(name: str) -> SentenceEncoder:
    """The model of that name, once in a process."""
    from minidistil.sentences import CrossEncoder, load

    found = load(name)
    if isinstance(found, CrossEncoder):
        raise TypeError(f"{name} is a cross-encoder, which has no embeddings")
    return as_encoder(found)
