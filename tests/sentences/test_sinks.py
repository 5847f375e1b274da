"""Files of embeddings are whole after every append, wherever an interruption falls, and can be gone on with."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.sentences.sinks import (
    JsonLinesSink,
    NpySink,
    ParquetSink,
    Sink,
    TableSink,
    npy_header,
    open_sink,
    sink_kind,
)
from tests.bits import assert_same_bits

TEXT = '"ü\u2028\\'
ROW = {"text": TEXT}
_shapes = st.tuples(st.lists(st.integers(1, 5), max_size=6), st.integers(1, 9), st.integers(0, 2**31))


def _parts(counts: list[int], width: int, seed: int) -> list[np.ndarray]:
    """Any float32 bits that are numbers, a few rows at a time."""
    rng = np.random.default_rng(seed)
    bits = [rng.integers(0, 2**32, (n, width), dtype=np.uint32).view(np.float32) for n in counts]
    return [np.where(np.isfinite(x), x, np.float32(-0.0)) for x in bits]


def read(kind: type[Sink], path: Path, width: int) -> np.ndarray:
    """What a file holds, finished or not."""
    if kind is NpySink:
        found: np.ndarray = np.load(path)
        return found
    if kind is JsonLinesSink:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        assert {row["text"] for row in rows} <= {TEXT}
        return np.array([row["embedding"] for row in rows], np.float32).reshape(-1, width)
    import pyarrow.parquet

    with pyarrow.memory_map(str(path)) as source:
        if path.name.endswith(".partial"):
            table = pyarrow.ipc.open_stream(source).read_all()
        elif kind is ParquetSink:
            table = pyarrow.parquet.read_table(source)
        else:
            table = pyarrow.ipc.open_file(source).read_all()
    assert set(table["text"].to_pylist()) <= {TEXT}
    flat = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False) if len(table) else []
    return np.array(flat, np.float32).reshape(-1, width)


@pytest.fixture(scope="module", params=[NpySink, JsonLinesSink, TableSink, ParquetSink])
def kind(request: pytest.FixtureRequest) -> type[Sink]:
    if issubclass(request.param, TableSink):
        pytest.importorskip("pyarrow", reason="Arrow and Parquet need pyarrow")
    found: type[Sink] = request.param
    return found


@given(_shapes, st.integers(0, 6))
@settings(deadline=None, max_examples=30)
def test_whole_after_every_append_and_gone_on_with(
    kind: type[Sink], tmp_path_factory: pytest.TempPathFactory, shape: tuple, again: int
) -> None:
    path, width, parts = tmp_path_factory.mktemp("sink") / "out", shape[1], _parts(*shape)
    sink = kind(path, width, np.float32)
    for i, part in enumerate(parts, 1):
        if i == again:
            said = f"the first {sink.rows} embeddings are in {sink.partial}" if i > 1 else "nothing was written"
            assert sink.abandon() == said
            sink = kind(path, width, np.float32, done=(sink.rows, sink.end) if sink.rows else (0, 0))
            assert sink.rows == sum(map(len, parts[: i - 1]))
        end, data = sink.end, sink.append([ROW] * len(part), part)
        assert sink.partial.read_bytes()[end : sink.end] == data
        assert_same_bits(read(kind, sink.partial, width), np.concatenate(parts[:i]))
    sink.finish()
    assert [p.name for p in path.parent.iterdir()] == ["out"]
    whole = np.concatenate(parts) if parts else np.zeros((0, width), np.float32)
    assert_same_bits(read(kind, path, width), whole)
    if kind is NpySink:
        assert read(kind, path, width).shape == whole.shape


class _Interrupted:
    """A file whose n-th operation is where Ctrl-C comes: before it is done, half done, or after."""

    def __init__(self, file: Any, n: int, how: str) -> None:
        self.file, self.left, self.how = file, n, how

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.file, name)
        if name not in ("write", "seek"):
            return operation

        def once(*arguments: Any) -> Any:
            self.left -= 1
            if self.left:
                return operation(*arguments)
            if self.how == "half" and name == "write":
                operation(bytes(arguments[0])[: len(arguments[0]) // 2])
            if self.how == "after":
                operation(*arguments)
            raise KeyboardInterrupt

        return once


@pytest.mark.parametrize("how", ["before", "half", "after"])
@pytest.mark.parametrize("n", range(1, 10))
def test_interrupted_anywhere_the_file_holds_what_is_said(kind: type[Sink], tmp_path: Path, n: int, how: str) -> None:
    rows = np.arange(15, dtype=np.float32).reshape(5, 3)
    sink = kind(tmp_path / "out", 3, np.float32)
    sink._file = _Interrupted(sink._file, n, how)
    with contextlib.suppress(KeyboardInterrupt):
        sink.append([ROW] * 2, rows[:2])
        sink.append([ROW] * 3, rows[2:])
    sink._file = sink._file.file
    said = sink.abandon()
    if not sink.rows:
        assert said == "nothing was written"
        assert not list(tmp_path.iterdir())
        return
    assert said == f"the first {sink.rows} embeddings are in {sink.partial}"
    assert_same_bits(read(kind, sink.partial, 3), rows[: sink.rows])


def test_no_more_is_kept_than_asked_for(kind: type[Sink], tmp_path: Path) -> None:
    rows = np.arange(15, dtype=np.float32).reshape(5, 3)
    sink = kind(tmp_path / "out", 3, np.float32)
    for row in rows[:4]:
        done = (sink.rows, sink.end)
        sink.append([ROW], row[None])
    assert sink.abandon(done) == f"the first 3 embeddings are in {sink.partial}"
    assert_same_bits(read(kind, sink.partial, 3), rows[:3])
    again = kind(tmp_path / "out", 3, np.float32, done=done)
    again.append([ROW] * 2, rows[3:])
    again.finish()
    assert_same_bits(read(kind, tmp_path / "out", 3), rows)


def test_arrow_of_other_columns_is_not_gone_on_with(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="Arrow and Parquet need pyarrow")
    sink = TableSink(tmp_path / "out", 3, np.float32)
    sink.append([ROW], np.ones((1, 3), np.float32))
    done = (sink.rows, sink.end)
    sink.abandon()
    with pytest.raises(ValueError, match=r"out\.partial begins otherwise than this pyarrow \(.*\) begins a file"):
        TableSink(tmp_path / "out", 3, np.int8, done=done)


@pytest.mark.parametrize(("call", "fault"), [("open", errno.EACCES), ("fsync", errno.EINVAL), ("fsync", errno.EIO)])
def test_folders_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, fault: int) -> None:
    """They cost the promise, and no more; a disk that fails is an error."""
    honest = getattr(os, call)

    def refuse(what: Any, *arguments: Any) -> Any:
        if stat.S_ISDIR(os.stat(what).st_mode):  # noqa: PTH116  (of a file that is open, too)
            raise OSError(fault, os.strerror(fault))
        return honest(what, *arguments)

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OSError, match="Input/output") if fault == errno.EIO else contextlib.nullcontext():
        sink = NpySink(tmp_path / "out", 3, np.float32)
        sink.append([ROW], np.ones((1, 3), np.float32))
        sink.finish()
        assert np.load(tmp_path / "out").shape == (1, 3)


def test_an_old_file_stands_until_the_new_one_is_finished(kind: type[Sink], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("from last time")
    sink = kind(tmp_path / "out", 3, np.float32)
    sink.append([ROW] * 2, np.ones((2, 3), np.float32))
    sink.abandon()
    assert (tmp_path / "out").read_text() == "from last time"


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint8])
def test_types(kind: type[Sink], tmp_path: Path, dtype: type) -> None:
    rows = np.array([[0, 1, 127], [100, 3, 5]], dtype)
    sink = kind(tmp_path / "out", 3, dtype)
    sink.append([ROW] * 2, rows)
    sink.finish()
    found = read(kind, tmp_path / "out", 3)
    assert kind is not NpySink or found.dtype == dtype
    assert found.tolist() == rows.tolist()


@given(st.integers(0, 10**15), st.integers(0, 10**6), st.sampled_from(["<f4", "|i1", "|u1"]))
def test_npy_header_is_what_numpy_reads(rows: int, width: int, descr: str) -> None:
    header = npy_header(rows, width, np.dtype(descr))
    assert len(header) == 128
    file = io.BytesIO(header)
    assert np.lib.format.read_magic(file) == (1, 0)
    assert np.lib.format.read_array_header_1_0(file) == ((rows, width), False, np.dtype(descr))


def test_the_format_goes_by_the_name(tmp_path: Path) -> None:
    names = {"a.npy": "npy", "a.NPY": "npy", "a.jsonl": "jsonl", "a.ndjson": "jsonl", "a.arrow": "arrow"}
    names |= {"a.feather": "arrow", "a.parquet": "parquet"}
    assert {name: sink_kind(Path(name)) for name in names} == names
    assert sink_kind(Path("a.txt"), "npy") == "npy"
    for path, asked in [("a.csv", None), ("a", None), ("a.npy", "csv")]:
        with pytest.raises(ValueError, match="the format must be one of npy, jsonl, arrow, parquet"):
            sink_kind(Path(path), asked)
    with pytest.raises(OSError, match="No such file"):
        open_sink("npy", tmp_path / "no" / "out.npy", 3, np.float32)
