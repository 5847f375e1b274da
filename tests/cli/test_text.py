"""Reading lines, and naming what cannot be read."""

import io
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidistil.records.errors import RecordError
from minidistil.records.lines import chunks, count_lines, read_lines


def _written(tmp_path, data: bytes) -> str:
    path = tmp_path / "lines.txt"
    path.write_bytes(data)
    return str(path)


@given(st.binary(max_size=60).map(lambda b: b.replace(b"\r", b"x")))
def test_lines_are_those_of_bytes_split(tmp_path_factory, data):
    name = _written(tmp_path_factory.mktemp("lines"), data)
    expected = data.decode("latin-1").split("\n")
    if expected[-1] == "":
        expected.pop()  # the last break ends a line and opens none
    if expected:
        expected[0] = expected[0].removeprefix("\ufeff")
    assert list(read_lines(name, "latin-1")) == list(enumerate(expected, 1))
    assert count_lines(name) == len(expected)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings_and_windows_breaks(tmp_path, encoding):
    text = "één\r\n\r\nzwei\u2028drei\x0c\r\nvier"
    name = _written(tmp_path, text.encode(encoding))
    assert list(read_lines(name, encoding)) == [(1, "één"), (2, ""), (3, "zwei\u2028drei\x0c"), (4, "vier")]


def test_byte_order_mark_is_skipped(tmp_path):
    assert list(read_lines(_written(tmp_path, "\ufeffa\nb".encode()), "utf-8")) == [(1, "a"), (2, "b")]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"fine\nalso fine\nol\xe9\n", ["line 3", "0xe9", "utf-8", "--encoding latin-1"]),
        ("a\nb".encode("utf-16"), ["line 1", "0xff", "--encoding utf-16"]),
    ],
)
def test_other_encoding_names_file_line_and_byte(tmp_path, data, words):
    name = _written(tmp_path, data)
    with pytest.raises(RecordError) as caught:
        list(read_lines(name, "utf-8"))
    assert all(word in str(caught.value) for word in [name, *words])


def test_wide_encoding_cut_in_the_middle(tmp_path):
    name = _written(tmp_path, "a\nb".encode("utf-16-le")[:-1])
    with pytest.raises(RecordError, match="line 2"):
        list(read_lines(name, "utf-16-le"))


@pytest.mark.parametrize("read", [count_lines, lambda name: list(read_lines(name, "utf-8"))])
def test_missing_file_and_folder(tmp_path, read):
    with pytest.raises(RecordError, match=r"nowhere\.txt: No such file"):
        read(str(tmp_path / "nowhere.txt"))
    with pytest.raises(RecordError, match="is a folder"):
        read(str(tmp_path))


def test_standard_input_is_read_and_not_counted(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\n")))
    assert count_lines("-") is None
    assert list(read_lines("-", "utf-8")) == [(1, "a"), (2, "b")]


@given(st.integers(0, 40), st.integers(1, 9))
def test_chunks_keep_everything_in_order(n, size):
    parts = list(chunks(iter(range(n)), size))
    assert list(itertools.chain.from_iterable(parts)) == list(range(n))
    assert all(len(part) == size for part in parts[:-1])
    assert all(parts)
