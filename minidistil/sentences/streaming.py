"""Any number of sentences to a file, in bounded memory, to be gone on with after an interruption."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidistil._options import check_number, refuse_table
from minidistil.sentences.growing import Kept
from minidistil.sentences.progress import progress
from minidistil.sentences.quantization import PRECISIONS
from minidistil.sentences.rows import Row
from minidistil.sentences.sinks import INTO, Sink, open_sink, sink_kind
from minidistil.tokenization import warn_of_truncation

if TYPE_CHECKING:
    import pyarrow

    from minidistil.models.base import Model
    from minidistil.sentences.encoder import SentenceEncoder

CHUNK = 256  # sentences at once: enough to sort by length and fill the cores, little enough to lose or to wait for


@dataclass(frozen=True)
class Written:
    """What `encode_to_file` did.

    Attributes:
        path: the finished file.
        rows: embeddings in it.
        resumed: how many of them an earlier, interrupted call had written.
        truncated: how many sentences this call has cut to the model's length.
    """

    path: Path
    rows: int
    resumed: int
    truncated: int


def encode_chunks(
    model: SentenceEncoder | Model[Any], sentences: Iterable[str], *, chunk_size: int = CHUNK, **options: Any
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Embed sentences as they come, and hand them on chunk by chunk with their embeddings.

    Args:
        model: what makes the embeddings.
        sentences: any iterable of str; not more than a chunk is held.
        chunk_size: sentences at once.
        **options: `SentenceEncoder.encode`'s.

    Returns:
        An iterator over the sentences of a chunk and their embeddings [n, D].

    Raises:
        TypeError, ValueError: as `SentenceEncoder.encode`.
    """
    _check(sentences, chunk_size)
    return _chunks(as_encoder(model), iter(sentences), 0, chunk_size, options)


def encode_to_file(
    model: SentenceEncoder | Model[Any],
    sentences: Iterable[str],
    path: str | Path,
    *,
    file_format: str | None = None,
    resume: bool = True,
    chunk_size: int = CHUNK,
    show_progress_bar: bool = False,
    total: int | None = None,
    truncation: str | bool = "warn",
    **options: Any,
) -> Written:
    """Embed any number of sentences into a file, in memory for a chunk of them.

    Until it is finished the file is called PATH.partial. Interrupted, by whatever means, the same call goes on where it
    ended: the sentences that are embedded already, and their embeddings, are read again and compared with what
    PATH.partial.journal notes of them, but not computed. A kill or a loss of power costs the work of the last second
    and of a chunk, as the disk has been waited for before the journal names anything, and before the file takes its
    name. The finished file has the same bytes whether or not it was interrupted, and whatever the `chunk_size` (but
    with `backend="blas"`, whose last bits are a chunk's own).

    Args:
        model: what makes the embeddings: `minidistil.load(...)`.
        sentences: any iterable of str, in an order that is the same in every call.
        path: a .npy file (an array [rows, D]); .jsonl (a line {"text", "embedding"} each); .parquet, .arrow or
            .feather (columns text and embedding; needs pyarrow). A file of that name is replaced at the end.
        file_format: "npy", "jsonl", "arrow" or "parquet", where the name does not say it.
        resume: whether to go on with what an earlier call left; False begins anew.
        chunk_size: sentences that are embedded and written at once.
        show_progress_bar: show one on standard error.
        total: how many sentences there are, for the progress bar.
        truncation: as for `SentenceEncoder.encode`; "warn" warns once, at the end.
        **options: `SentenceEncoder.encode`'s: `prompt_name`, `precision` (of the embeddings) with `ranges`, ...

    Returns:
        What was written.

    Raises:
        TypeError: something other than text, or an option that there is not.
        ValueError: as `SentenceEncoder.encode`; or what is there to be resumed was made by another model, with other
            options or of other sentences.
        OSError: the file cannot be written.
    """
    _check(sentences, chunk_size)
    return encode_rows_to_file(
        model,
        _rows(sentences),
        path,
        file_format=file_format,
        resume=resume,
        chunk_size=chunk_size,
        show_progress_bar=show_progress_bar,
        total=total,
        truncation=truncation,
        **options,
    )


def encode_rows_to_file(
    model: SentenceEncoder | Model[Any],
    rows: Iterable[Row],
    path: str | Path,
    *,
    into: str = INTO,
    schema: pyarrow.Schema | None = None,
    source: dict[str, Any] | None = None,
    file_format: str | None = None,
    resume: bool = True,
    chunk_size: int = CHUNK,
    show_progress_bar: bool = False,
    total: int | None = None,
    truncation: str | bool = "warn",
    **options: Any,
) -> Written:
    """Embed the texts of any number of rows into a file, beside their other columns; see `encode_to_file`.

    Args:
        model: what makes the embeddings.
        rows: any iterable of them, in an order that is the same in every call.
        path: as for `encode_to_file`; a .npy file holds the embeddings alone.
        into: what the embeddings are called.
        schema: of the rows, for Arrow and Parquet.
        source: of what the rows are, where their keys do not tell all of it: a resumed call compares it.
        file_format, resume, chunk_size, show_progress_bar, total, truncation, **options: as for `encode_to_file`.

    Returns:
        What was written.

    Raises:
        TypeError, ValueError, OSError: as `encode_to_file`.
    """
    encoder, path = as_encoder(model), Path(path)
    for name in ("output_value", "first_index"):
        if name in options:
            raise TypeError(f"encode_to_file has no {name}: it writes the embeddings of all sentences")
    encoder.encode([], truncation=truncation, **options)  # a wrong option is an error before any file is touched
    precision, cut_quietly = options.get("precision", "float32"), truncation in ("warn", True)
    width = encoder.embedding_width(precision, options.get("truncate_dim"))
    kind = sink_kind(path, file_format)
    circumstances = {**_circumstances(encoder, kind, width, options), **(source or {})}
    dtype, before = PRECISIONS[precision], encoder.truncated

    def opened(done: tuple[int, int]) -> Sink:
        return open_sink(kind, path, width, dtype, done=done, into=into, schema=schema)

    with Kept(path, circumstances, opened, resume=resume) as growing:
        sink, left, first = growing.file, iter(rows), growing.resumed
        growing.skip(row.key for row in left)
        options["truncation"] = True if cut_quietly else truncation
        with progress(total, show_progress_bar, done=first, delay=1) as bar:
            while chunk := list(islice(left, chunk_size)):
                embeddings, present = encode_with_gaps(encoder, [row.text for row in chunk], first, options)
                start, keys = sink.end, [row.key for row in chunk]
                growing.take(keys, start, sink.append([row.values for row in chunk], embeddings, present))
                bar.update(len(chunk))
                first += len(chunk)
    cut = encoder.truncated - before
    if truncation == "warn":
        warn_of_truncation(cut, first - growing.resumed, encoder.max_seq_length)
    return Written(path, first, growing.resumed, cut)


def as_encoder(model: SentenceEncoder | Model[Any]) -> SentenceEncoder:
    """Return what makes the embeddings (TypeError where nothing does)."""
    from minidistil.models.base import Model
    from minidistil.sentences.encoder import SentenceEncoder

    if isinstance(model, Model):
        return model.sentence_encoder
    if not isinstance(model, SentenceEncoder):
        raise TypeError(f"model must be what minidistil.load(...) returns, got {type(model).__name__}")
    return model


def encode_with_gaps(
    encoder: SentenceEncoder, texts: Sequence[str | None], first: int, options: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Embed the texts that are there.

    Args:
        encoder: what makes the embeddings.
        texts: with None where there is none.
        first: what errors call the first of them.
        options: `SentenceEncoder.encode`'s.

    Returns:
        The embeddings [n, D], zeros for None; and bool [n], which of them are texts.
    """
    present = np.array([text is not None for text in texts], bool)
    precision = options.get("precision", "float32")
    width = encoder.embedding_width(precision, options.get("truncate_dim"))
    embeddings = np.zeros((len(texts), width), PRECISIONS[precision])
    start = 0
    for there, run in itertools.groupby(present.tolist()):  # in runs, so that an error names the right row
        stop = start + len(list(run))
        if there:
            run_texts = [text for text in texts[start:stop] if text is not None]
            embeddings[start:stop] = encoder.encode(run_texts, first_index=first + start, **options)
        start = stop
    return embeddings, present


def _rows(sentences: Iterable[str]) -> Iterator[Row]:
    for i, sentence in enumerate(sentences):
        if not isinstance(sentence, str):
            raise TypeError(f"sentences[{i}] must be a str, got {type(sentence).__name__}")
        yield Row(sentence, {"text": sentence}, sentence)


def _check(sentences: Any, chunk_size: int) -> None:
    check_number("chunk_size", chunk_size)
    refuse_table("sentences", sentences)
    if isinstance(sentences, str):
        raise TypeError("sentences must be an iterable of str, got one str: put it into a list")


def _chunks(
    encoder: SentenceEncoder, source: Iterator[str], first: int, size: int, options: dict[str, Any]
) -> Iterator[tuple[list[str], np.ndarray]]:
    while chunk := list(islice(source, size)):
        yield chunk, encoder.encode(chunk, first_index=first, **options)
        first += len(chunk)


def _circumstances(encoder: SentenceEncoder, kind: str, width: int, options: dict[str, Any]) -> dict[str, Any]:
    """What every byte of the file depends on, but for the sentences."""
    precision, ranges = options.get("precision", "float32"), options.get("ranges")
    used = ranges is not None and precision in ("int8", "uint8")
    return {
        "format": kind,
        "model": encoder.digest(),
        "model_precision": encoder.precision,
        "bits": bits_of(encoder.model),
        "max_seq_length": encoder.max_seq_length,
        "prompt": encoder.prompt_text(options.get("prompt"), options.get("prompt_name")),
        "numbers": width,
        "precision": precision,
        "normalize_embeddings": bool(options.get("normalize_embeddings", False)),
        "ranges": hashlib.sha256(np.asarray(ranges, "<f4").tobytes()).hexdigest() if used else None,
    }


def bits_of(model: Model[Any]) -> str:
    """Engine and `exact` have the same bits, so that one may go on where the other ended; `blas` has its own."""
    operations = getattr(model._backend, "ops", None)
    return "blas" if getattr(operations, "__name__", "").endswith(".blas") else "exact"
