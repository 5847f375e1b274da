"""minidistil.arrow: the bytes of encode in record batches, whatever the batching, beside the other columns."""

from __future__ import annotations

import functools
import itertools
import pickle
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil import SentenceEncoder, TruncationWarning
from tests.bits import assert_same_bits
from tests.processes import python
from tests.synthetic_tokenizer import _WORDS

pa: Any = pytest.importorskip("pyarrow", reason="record batches need pyarrow")

RNG = np.random.default_rng(8)
TEXTS: list[str | None] = [" ".join(RNG.choice(_WORDS, RNG.integers(0, 6))) for _ in range(23)]
TEXTS[4] = TEXTS[5] = TEXTS[20] = None


@pytest.fixture(scope="module")
def encoder(sentence_small: Path) -> SentenceEncoder:
    loaded = minidistil.load(sentence_small, threads=1)
    assert isinstance(loaded, SentenceEncoder)
    return loaded


@pytest.fixture(scope="module")
def batch() -> Any:
    """A text that may be null, and columns of other kinds beside it."""
    n = len(TEXTS)
    return pa.record_batch(
        {
            "id": pa.array([None if i == 3 else i for i in range(n)], pa.int32()),
            "text": pa.array(TEXTS),
            "nested": pa.array([None if i % 5 == 0 else {"a": [i] * (i % 3), "b": str(i)} for i in range(n)]),
            "kind": pa.array(["red", None, "blue", "red"] * 5 + ["green"] * 3).dictionary_encode(),
            "at": pa.array([i * 1_000_000_007 for i in range(n)], pa.timestamp("ns")),
        }
    )


def cut(batch: Any, *sizes: int) -> Iterator[Any]:
    """The batch in batches of these sizes, again and again."""
    start = 0
    for size in itertools.cycle(sizes):
        if start >= batch.num_rows:
            return
        yield batch.slice(start, size)
        start += size


def rows_of(table: Any, name: str = "embedding", dtype: type = np.float32) -> np.ndarray:
    """The embeddings that are not null."""
    return np.array([row for row in table[name].to_pylist() if row is not None], dtype)


@pytest.mark.parametrize("sizes", [(23,), (1,), (5, 0, 2)])
@pytest.mark.parametrize("chunk_size", [4, 256])
def test_the_bytes_of_encode_whatever_the_batching(
    encoder: SentenceEncoder, batch: Any, sizes: tuple[int, ...], chunk_size: int
) -> None:
    found = pa.Table.from_batches(minidistil.arrow.embed(cut(batch, *sizes), encoder, chunk_size=chunk_size))
    found.validate(full=True)
    assert found.schema == minidistil.arrow.embedded_schema(batch.schema, encoder)
    assert found.schema.field("embedding").type == pa.list_(pa.float32(), 128)
    assert found.drop_columns(["embedding"]).equals(pa.Table.from_batches([batch]))
    assert [v.is_valid for v in found["embedding"]] == [text is not None for text in TEXTS]
    assert_same_bits(rows_of(found), encoder.encode([text for text in TEXTS if text is not None]))


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())])
def test_every_kind_of_text(encoder: SentenceEncoder, kind: Any) -> None:
    column = pa.array(["wine", None, "night"]).cast(kind)
    [found] = minidistil.arrow.embed([pa.record_batch({"t": column})], encoder, column="t", into="v")
    assert_same_bits(rows_of(found, "v"), encoder.encode(["wine", "night"]))
    assert found.schema.field("t").type == kind


def test_lists_for_engines_that_have_no_others(encoder: SentenceEncoder, batch: Any) -> None:
    found = pa.Table.from_batches(minidistil.arrow.embed(cut(batch, 9), encoder, vectors="list"))
    assert found.schema == minidistil.arrow.embedded_schema(batch.schema, encoder, vectors="list")
    assert found.schema.field("embedding").type == pa.list_(pa.float32())
    assert found["embedding"].null_count == 3
    assert_same_bits(rows_of(found), encoder.encode([text for text in TEXTS if text is not None]))


@pytest.mark.parametrize("precision", ["float16", "int8", "ubinary"])
def test_other_precisions(encoder: SentenceEncoder, batch: Any, precision: str) -> None:
    options: dict[str, Any] = {"precision": precision, "truncate_dim": 20}
    wanted = encoder.encode([text for text in TEXTS if text is not None], truncate_dim=20)
    ranges = minidistil.calibration_ranges(wanted)
    found = pa.Table.from_batches(minidistil.arrow.embed([batch], encoder, ranges=ranges, **options))
    assert found.schema == minidistil.arrow.embedded_schema(batch.schema, encoder, **options)
    expected = minidistil.quantize_embeddings(wanted, precision, ranges)
    assert rows_of(found, dtype=expected.dtype.type).tobytes() == expected.tobytes()


def test_nothing(encoder: SentenceEncoder, batch: Any) -> None:
    assert list(minidistil.arrow.embed([], encoder)) == []
    [found] = minidistil.arrow.embed([batch.slice(0, 0)], encoder)
    assert found.num_rows == 0
    assert found.schema == minidistil.arrow.embedded_schema(batch.schema, encoder)


def test_a_name_is_loaded_once_in_a_process_and_the_call_can_be_pickled(sentence_small: Path, batch: Any) -> None:
    call = functools.partial(minidistil.arrow.embed, model=str(sentence_small), column="text")
    again = pickle.loads(pickle.dumps(call))
    found = [pa.Table.from_batches(run(cut(batch, 7))) for run in (call, again)]
    assert found[0].equals(found[1])
    from minidistil.arrow import _loaded

    assert _loaded(str(sentence_small)) is _loaded(sentence_small)


def test_memory_is_a_chunks(encoder: SentenceEncoder, batch: Any) -> None:
    """No batch is asked for before those before it have come out."""
    asked = []

    def batches() -> Iterator[Any]:
        for i, part in enumerate(cut(batch, 8)):
            asked.append(i)
            yield part

    found = minidistil.arrow.embed(batches(), encoder, chunk_size=5)
    assert [next(found).num_rows for _ in range(2)] == [5, 3]
    assert asked == [0]


def test_texts_that_are_cut_are_told_once(encoder: SentenceEncoder) -> None:
    batch = pa.record_batch({"text": ["the " * 100, "wine", None, "of " * 100]})
    with pytest.warns(TruncationWarning, match="2 of 4 texts are longer than 64 tokens") as caught:
        list(minidistil.arrow.embed(cut(batch, 1), encoder))
    assert len(caught) == 1
    with pytest.raises(ValueError, match=re.escape("1 of the texts (index 3) are longer than 64 tokens")):
        list(minidistil.arrow.embed(cut(batch.take([1, 2, 2, 3]), 2), encoder, truncation="error"))


REFUSED: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "a table": (pa.table({"text": ["a"]}), {}, TypeError, "iterable of pyarrow.RecordBatch, got Table"),
    "a batch": (pa.record_batch({"text": ["a"]}), {}, TypeError, "one batch goes into a list"),
    "no batches": ([3], {}, TypeError, "batches must be of pyarrow.RecordBatch, got int"),
    "no such column": ([pa.record_batch({"a": ["a"], "b": [1]})], {}, ValueError, "no column 'text' among a, b"),
    "no text": ([pa.record_batch({"text": [1]})], {}, TypeError, "column 'text' is no text, but int64"),
    "a name that is taken": (
        [pa.record_batch({"text": ["a"], "v": [1]})], {"into": "v"}, ValueError, "have a column 'v' already",
    ),
    "other columns": (
        [pa.record_batch({"text": ["a"]}), pa.record_batch({"text": ["a"], "v": [1]})],
        {}, ValueError, "the batch that begins at row 1 has another schema",
    ),
    "bytes that are no text": (
        [pa.record_batch({"text": pa.array([b"a", b"\xff"]).view(pa.string())})],
        {}, ValueError, "row 1 (counted from 0), column 'text': byte 0xff is not UTF-8",
    ),
    "vectors": ([], {"vectors": "tensor"}, ValueError, "vectors must be one of fixed, list, got 'tensor'"),
    "chunk_size": ([], {"chunk_size": 0}, ValueError, "chunk_size must be positive"),
    "output_value": ([], {"output_value": None}, TypeError, "embed has no output_value"),
    "an unknown option": ([], {"pooling": "cls"}, TypeError, "pooling"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(encoder: SentenceEncoder, case: str) -> None:
    batches, options, kind, message = REFUSED[case]
    with pytest.raises(kind, match=re.escape(message)):
        list(minidistil.arrow.embed(batches, encoder, **options))


def test_a_table_is_no_list_of_sentences(encoder: SentenceEncoder, tmp_path: Path) -> None:
    """Iterated, a DataFrame gives the names of its columns."""

    class DataFrame:
        columns = ("text",)

        def __iter__(self) -> Iterator[str]:
            return iter(self.columns)

    for table in (DataFrame(), pa.table({"text": ["a"]})):
        for call in (encoder.encode, lambda t: minidistil.encode_to_file(encoder, t, tmp_path / "out.npy")):
            with pytest.raises(TypeError, match=f"sentences must be text, got a {type(table).__name__}: pass one of"):
                call(table)


def test_a_reranker_has_no_embeddings(reranker_small: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(reranker_small, tmp_path / "reranker")
    (folder / "config_sentence_transformers.json").write_text('{"model_type": "CrossEncoder"}')
    with pytest.raises(TypeError, match="is a cross-encoder, which has no embeddings"):
        minidistil.arrow.embed([], str(folder))


def test_pyarrow_is_loaded_when_it_is_used_and_its_absence_is_said() -> None:
    code = """
import sys, minidistil, minidistil.arrow
assert "pyarrow" not in sys.modules
sys.modules["pyarrow"] = None
try:
    minidistil.arrow.embed([], None)
except ModuleNotFoundError as error:
    print(error)
"""
    said = 'Arrow and Parquet need pyarrow, which is not installed: pip install "minidistil[arrow]"'
    assert python(code) == said


def test_halves_are_the_nearest_and_never_overflow() -> None:
    x = np.array([0.1, -0.0, 65504, 65519, 2.0**-24, np.nan, np.inf, 1 + 2**-11, 1 + 3 * 2**-11], np.float32)
    found = minidistil.quantize_embeddings(x, "float16")
    assert found.dtype == np.float16
    step = 2.0**-10  # between halves from 1 on; of two that are equally near, the even one
    wanted = [0.0999755859375, -0.0, 65504, 65504, 2.0**-24, np.nan, np.inf, 1, 1 + 2 * step]
    assert found.tobytes() == np.array(wanted, np.float16).tobytes()
    with pytest.raises(ValueError, match="the embeddings reach 70000, and float16 ends at 65504"):
        minidistil.quantize_embeddings(np.array([-70000, 1], np.float32), "float16")
