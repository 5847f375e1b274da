"""What embed writes is whole after every write."""

import contextlib
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.cli.writers import JsonLinesWriter, NpyWriter, npy_header

_shapes = st.tuples(st.lists(st.integers(1, 5), max_size=6), st.integers(1, 9), st.integers(0, 2**31))


def _rows(counts: list[int], width: int, seed: int) -> list[np.ndarray]:
    """Any float32 bits that are numbers, a few at a time."""
    rng = np.random.default_rng(seed)
    bits = [rng.integers(0, 2**32, (n, width), dtype=np.uint32).view(np.float32) for n in counts]
    return [np.where(np.isfinite(x), x, np.float32(-0.0)) for x in bits]


@given(_shapes)
@settings(deadline=None)
def test_npy_is_complete_after_every_append(tmp_path_factory, shape):
    folder = tmp_path_factory.mktemp("npy")
    parts = _rows(*shape)
    writer = NpyWriter(folder / "out.npy")
    for i, part in enumerate(parts, 1):
        writer.append(["text"] * len(part), part)
        so_far = np.load(folder / "out.npy.partial")
        np.testing.assert_array_equal(so_far.view(np.uint32), np.concatenate(parts[:i]).view(np.uint32))
    writer.finish()
    assert [p.name for p in folder.iterdir()] == ["out.npy"]
    loaded = np.load(folder / "out.npy")
    assert loaded.dtype == np.float32
    assert loaded.shape == ((writer.rows, shape[1]) if parts else (0, 0))


@given(st.integers(0, 10**15), st.integers(0, 10**6))
def test_npy_header_is_what_numpy_reads(rows, width):
    header = npy_header(rows, width)
    assert len(header) == 128
    file = io.BytesIO(header)
    assert np.lib.format.read_magic(file) == (1, 0)
    assert np.lib.format.read_array_header_1_0(file) == ((rows, width), False, np.dtype("<f4"))


@given(_shapes)
@settings(deadline=None)
def test_json_lines_give_every_bit_back(tmp_path_factory, shape):
    folder = tmp_path_factory.mktemp("jsonl")
    parts = _rows(*shape)
    writer = JsonLinesWriter(folder / "out.jsonl")
    for part in parts:
        writer.append(['"ü\u2028\\'] * len(part), part)
    writer.finish()
    lines = (folder / "out.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert [json.loads(line)["text"] for line in lines] == ['"ü\u2028\\'] * writer.rows
    read = np.array([json.loads(line)["embedding"] for line in lines], np.float32).reshape(-1, shape[1])
    expected = np.concatenate(parts) if parts else np.zeros((0, shape[1]), np.float32)
    np.testing.assert_array_equal(read.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("kind", [NpyWriter, JsonLinesWriter])
def test_abandoned_output_keeps_what_is_done_and_the_old_file(tmp_path, kind):
    path = tmp_path / "out"
    path.write_text("from last time")
    writer = kind(path)
    writer.append(["a", "b"], np.ones((2, 3), np.float32))
    assert "first 2 embeddings" in writer.abandon()
    assert path.read_text() == "from last time"
    assert (tmp_path / "out.partial").stat().st_size > 0


class _Interrupted:
    """A file whose n-th operation is where Ctrl-C comes: before it is done, or after."""

    def __init__(self, file, n: int, after: bool) -> None:
        self.file, self.left, self.after = file, n, after

    def __getattr__(self, name: str):
        operation = getattr(self.file, name)
        if name not in ("write", "flush", "seek", "tell"):
            return operation

        def once(*arguments):
            self.left -= 1
            if self.left:
                return operation(*arguments)
            if self.after:
                operation(*arguments)
            raise KeyboardInterrupt

        return once


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("n", range(1, 13))
@pytest.mark.parametrize("kind", [NpyWriter, JsonLinesWriter])
def test_interrupted_anywhere_the_file_holds_what_is_said(tmp_path, kind, n, after):
    rows = np.arange(15, dtype=np.float32).reshape(5, 3)
    writer = kind(tmp_path / "out")
    writer._file = _Interrupted(writer._file, n, after)
    with contextlib.suppress(KeyboardInterrupt):
        writer.append(["a", "b"], rows[:2])
        writer.append(["c", "d", "e"], rows[2:])
    said = writer.abandon()
    if not writer.rows:
        assert said == "nothing was written"
        assert not list(tmp_path.iterdir())
        return
    assert f"first {writer.rows} embeddings" in said
    partial = tmp_path / "out.partial"
    if kind is NpyWriter:
        found = np.load(partial)
    else:
        found = np.array([json.loads(line)["embedding"] for line in partial.read_text().splitlines()])
    np.testing.assert_array_equal(found, rows[: writer.rows])


@pytest.mark.parametrize("kind", [NpyWriter, JsonLinesWriter])
def test_abandoned_before_the_first_row_leaves_nothing(tmp_path, kind):
    assert kind(tmp_path / "out").abandon() == "nothing was written"
    assert not list(tmp_path.iterdir())
