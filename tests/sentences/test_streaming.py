"""encode_to_file: the rows of encode, in bounded memory, the same bytes whether or not it was interrupted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil import SentenceEncoder, TruncationWarning, encode_chunks, encode_to_file
from tests.bits import assert_same_bits
from tests.synthetic_tokenizer import _WORDS

RNG = np.random.default_rng(5)
TEXTS = [" ".join(RNG.choice(_WORDS, RNG.integers(0, 5))) for _ in range(23)]


@pytest.fixture(scope="module")
def encoder(sentence_small: Path) -> SentenceEncoder:
    loaded = minidistil.load(sentence_small, threads=1)
    assert isinstance(loaded, SentenceEncoder)
    return loaded


@pytest.fixture(scope="module")
def whole(encoder: SentenceEncoder) -> np.ndarray:
    embeddings: np.ndarray = encoder.encode(TEXTS)
    return embeddings


class Stopped(Exception):
    """What ends a run in these tests."""


def until(n: int, texts: list[str] = TEXTS) -> Iterator[str]:
    """The first n texts, then the end of the process, as it were."""
    yield from islice(texts, n)
    raise Stopped


@pytest.mark.parametrize("stops", [[], [3], [4], [9, 20], [0, 8, 8, 22]])
def test_resumed_is_the_same_file_without_computing_twice(
    encoder: SentenceEncoder, whole: np.ndarray, tmp_path: Path, stops: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, partial = tmp_path / "out.npy", tmp_path / "out.npy.partial"
    computed: list[str] = []
    honest = SentenceEncoder.encode

    def counted(self: SentenceEncoder, sentences: Any, **options: Any) -> Any:
        computed.extend(sentences)
        return honest(self, sentences, **options)

    monkeypatch.setattr(SentenceEncoder, "encode", counted)
    for stop in stops:
        with pytest.raises(Stopped) as caught:
            encode_to_file(encoder, until(stop), path, chunk_size=4)
        done = stop // 4 * 4
        told = f"the first {done} embeddings are in {partial}" if done else "nothing was written"
        assert caught.value.__notes__ == [told]
        if done:
            assert_same_bits(np.load(partial), whole[:done])
        else:
            assert list(tmp_path.iterdir()) == []
    written = encode_to_file(encoder, iter(TEXTS), path, chunk_size=4)
    assert written == minidistil.sentences.Written(path, 23, stops[-1] // 4 * 4 if stops else 0, 0)
    assert sorted(computed) == sorted(TEXTS)
    assert [p.name for p in tmp_path.iterdir()] == ["out.npy"]
    assert_same_bits(np.load(path), whole)


def test_every_format_holds_the_texts_and_the_rows(encoder: SentenceEncoder, whole: np.ndarray, tmp_path: Path) -> None:
    encode_to_file(encoder, TEXTS, tmp_path / "out.jsonl", chunk_size=5)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == TEXTS
    assert_same_bits(np.array([line["embedding"] for line in lines], np.float32), whole)
    feather = pytest.importorskip("pyarrow.feather", reason="Arrow files need pyarrow")
    with pytest.raises(Stopped):
        encode_to_file(encoder, until(17), tmp_path / "out.arrow", chunk_size=5)
    assert encode_to_file(encoder, TEXTS, tmp_path / "out.arrow", chunk_size=5).resumed == 15
    table = feather.read_table(tmp_path / "out.arrow")
    assert table["text"].to_pylist() == TEXTS
    assert_same_bits(np.array(table["embedding"].to_pylist(), np.float32), whole)


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_quantized(encoder: SentenceEncoder, whole: np.ndarray, tmp_path: Path, precision: str) -> None:
    ranges = minidistil.calibration_ranges(whole[:9, :20])
    options = {"precision": precision, "ranges": ranges, "truncate_dim": 20}
    with pytest.raises(Stopped):
        encode_to_file(encoder, until(9), tmp_path / "out.npy", chunk_size=4, **options)
    encode_to_file(encoder, TEXTS, tmp_path / "out.npy", chunk_size=4, **options)
    found = np.load(tmp_path / "out.npy")
    expected = minidistil.quantize_embeddings(whole[:, :20], precision, ranges)
    assert found.dtype == expected.dtype
    assert found.tolist() == expected.tolist()


def test_nothing(encoder: SentenceEncoder, tmp_path: Path) -> None:
    assert encode_to_file(encoder, [], tmp_path / "out.npy").rows == 0
    assert np.load(tmp_path / "out.npy").shape == (0, 128)


def test_chunks(encoder: SentenceEncoder, whole: np.ndarray) -> None:
    parts = list(encode_chunks(encoder, iter(TEXTS), chunk_size=10))
    assert [len(texts) for texts, _ in parts] == [10, 10, 3]
    assert [text for texts, _ in parts for text in texts] == TEXTS
    assert_same_bits(np.concatenate([rows for _, rows in parts]), whole)


def test_a_model_without_modules_and_a_truncated_text(bert_small: Path, tmp_path: Path) -> None:
    model = minidistil.load(bert_small, backend="blas")
    texts = ["wine", "the " * 600, "night", "of " * 700]
    with pytest.warns(TruncationWarning, match="2 of 4 texts are longer than 512 tokens") as caught:
        assert encode_to_file(model, texts, tmp_path / "out.npy", chunk_size=2).truncated == 2
    assert caught[0].filename == __file__
    with pytest.raises(ValueError, match=re.escape("1 of the texts (index 3) are longer than 512 tokens")):
        encode_to_file(model, ["a", "b", "c", texts[1]], tmp_path / "out.npy", chunk_size=2, truncation="error")


@pytest.fixture
def begun(encoder: SentenceEncoder, tmp_path: Path) -> Path:
    """The name of a file of which 8 rows are written."""
    with pytest.raises(Stopped):
        encode_to_file(encoder, until(9), tmp_path / "out.npy", chunk_size=4)
    return tmp_path / "out.npy"


OTHERWISE = {
    "normalize_embeddings": ({"normalize_embeddings": True}, "normalize_embeddings was False and is True"),
    "truncate_dim": ({"truncate_dim": 5}, "numbers was 128 and is 5"),
    "precision": ({"precision": "ubinary"}, "precision was 'float32' and is 'ubinary'"),
    "prompt": ({"prompt": "night "}, "prompt was '' and is 'night '"),
    "format": ({"file_format": "jsonl"}, "format was 'npy' and is 'jsonl'"),
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_made_otherwise_is_refused_and_left_as_it_is(encoder: SentenceEncoder, begun: Path, case: str) -> None:
    options, message = OTHERWISE[case]
    before = {p.name: p.read_bytes() for p in begun.parent.iterdir()}
    with pytest.raises(ValueError, match=re.escape(message)):
        encode_to_file(encoder, TEXTS, begun, **options)
    assert {p.name: p.read_bytes() for p in begun.parent.iterdir()} == before
    assert encode_to_file(encoder, TEXTS, begun, resume=False, **options).resumed == 0


def test_another_model_or_other_bits_are_refused(encoder: SentenceEncoder, begun: Path, sentence_small: Path) -> None:
    with pytest.raises(ValueError, match="bits was 'exact' and is 'blas'"):
        encode_to_file(minidistil.load(sentence_small, backend="blas"), TEXTS, begun)
    other = minidistil.load(sentence_small, backend="exact")  # the same bits: only the length is refused
    other.max_seq_length = 10
    with pytest.raises(ValueError, match="max_seq_length was 64 and is 10"):
        encode_to_file(other, TEXTS, begun)
    header, _, records = (begun.parent / "out.npy.partial.journal").read_bytes().partition(b"\n")
    assert json.loads(header)["model"] == encoder.digest()
    assert len(records) == 8 * 8 + 48  # one commit: the others wait for the second that a loss of power may take


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([*TEXTS[:2], "another", *TEXTS[3:]], "sentence 2 (counted from 0) is another than the one it was made of"),
        (TEXTS[:5], "it holds 8 embeddings, and there are 5 sentences now"),
    ],
    ids=["another sentence", "fewer"],
)
def test_other_sentences_are_refused(encoder: SentenceEncoder, begun: Path, texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        encode_to_file(encoder, texts, begun)
    assert encode_to_file(encoder, TEXTS, begun).resumed == 8


def test_a_lost_or_damaged_journal_is_said(encoder: SentenceEncoder, begun: Path) -> None:
    journal = begun.parent / "out.npy.partial.journal"
    for damaged in (b"", b"{", b"\0" * journal.stat().st_size):
        journal.write_bytes(damaged)
        with pytest.raises(ValueError, match="journal is damaged"):
            encode_to_file(encoder, TEXTS, begun)
    journal.unlink()
    with pytest.raises(ValueError, match=r"there is no out\.npy\.partial\.journal beside it"):
        encode_to_file(encoder, TEXTS, begun)


def test_the_disk_is_waited_for_once_a_second(
    encoder: SentenceEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minidistil.sentences import journal

    now, commits = 0.0, 0

    def clock() -> float:
        nonlocal now
        now += 0.3  # seconds a chunk, as it is asked for after each, and after a commit
        return now

    honest = journal.Journal.commit

    def counted(self: journal.Journal, sync: Any) -> None:
        nonlocal commits
        commits += 1
        honest(self, sync)

    monkeypatch.setattr(journal.time, "monotonic", clock)
    monkeypatch.setattr(journal.Journal, "commit", counted)
    encode_to_file(encoder, TEXTS, tmp_path / "out.npy", chunk_size=1)
    assert commits == 1 + 23 // 4


def test_one_process_at_a_time(encoder: SentenceEncoder, begun: Path) -> None:
    pytest.importorskip("fcntl", reason="this system has no flock")

    def within() -> Iterator[str]:
        yield from TEXTS[:12]
        with pytest.raises(ValueError, match="another process is writing"):
            encode_to_file(encoder, TEXTS, begun)
        yield from TEXTS[12:]

    assert encode_to_file(encoder, within(), begun).rows == 23


REFUSED: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "one str": ("wine", {}, TypeError, "sentences must be an iterable of str, got one str"),
    "no str": (["a", 3], {}, TypeError, "sentences[1] must be a str, got int"),
    "chunk_size": (["a"], {"chunk_size": 0}, ValueError, "chunk_size must be positive, got 0"),
    "output_value": (["a"], {"output_value": None}, TypeError, "encode_to_file has no output_value"),
    "an unknown option": (["a"], {"pooling": "cls"}, TypeError, "pooling"),
    "no ranges": (["a"], {"precision": "int8"}, ValueError, 'precision="int8" needs ranges'),
    "an unknown prompt": (["a"], {"prompt_name": "x"}, ValueError, "no prompt is named 'x'"),
    "an unknown format": (["a"], {"file_format": "csv"}, ValueError, "the format must be one of npy, jsonl, arrow"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_any_file_is_made(encoder: SentenceEncoder, tmp_path: Path, case: str) -> None:
    texts, options, kind, message = REFUSED[case]
    with pytest.raises(kind, match=re.escape(message)):
        encode_to_file(encoder, texts, tmp_path / "out.npy", **{"chunk_size": 2, **options})
    assert list(tmp_path.iterdir()) == []


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=re.escape("model must be what minidistil.load(...) returns, got str")):
        encode_to_file("all-MiniLM-L6-v2", ["a"], tmp_path / "out.npy")  # type: ignore[arg-type]
