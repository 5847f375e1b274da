"""encode_to_file after a kill or a loss of power at any point: the same bytes as without, and no commit is lost."""

from __future__ import annotations

import os
import stat
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil import SentenceEncoder, encode_to_file
from minidistil.sentences import journal, sinks, tables
from minidistil.weights import disk
from tests.synthetic_tokenizer import _WORDS

RNG = np.random.default_rng(6)
TEXTS = [" ".join(RNG.choice(_WORDS, RNG.integers(1, 5))) for _ in range(23)]
OLD = b"from last time"
CHUNK = {"chunk_size": 4, "truncate_dim": 7}
Image = dict[str, bytes]  # what a folder holds

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be opened there")


@pytest.fixture(scope="module")
def encoder(sentence_small: Path) -> SentenceEncoder:
    loaded = minidistil.load(sentence_small, threads=1)
    assert isinstance(loaded, SentenceEncoder)
    return loaded


@pytest.fixture(params=["out.npy", "out.jsonl", "out.arrow", "out.parquet"])
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of each format; a commit after every chunk, and few rows in a batch of Arrow's."""
    if request.param.endswith((".arrow", ".parquet")):
        pytest.importorskip("pyarrow", reason="Arrow and Parquet need pyarrow")
    monkeypatch.setattr(journal, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(tables, "ARROW_ROWS", 5)
    monkeypatch.setattr(tables, "PARQUET_ROWS", 5)
    found: str = request.param
    return found


@pytest.fixture
def whole(encoder: SentenceEncoder, name: str, tmp_path: Path) -> bytes:
    """The file of a run that nothing interrupts, in chunks of another size."""
    (tmp_path / "whole").mkdir()
    encode_to_file(encoder, TEXTS, tmp_path / "whole" / name, **{**CHUNK, "chunk_size": 256})
    return (tmp_path / "whole" / name).read_bytes()


class Disk:
    """A folder on a disk that has what `fsync` was called for, and of the rest what chance decides."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: dict[int, int] = {}  # a file that is open keeps its number, also when it is removed
        self._names = {path.name: self._number(path) for path in folder.iterdir()}
        self._contents = {number: os.pread(held, 1 << 20, 0) for number, held in self._held.items()}

    def fsync(self, descriptor: int) -> None:
        """What `os.fsync` promises."""
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            self._names = {path.name: self._number(path) for path in self.folder.iterdir()}
        else:
            self._contents[status.st_ino] = os.pread(descriptor, status.st_size, 0)

    def images(self) -> Iterator[tuple[str, Image]]:
        """What may be there when the power comes back, if it goes now."""
        here = {path.name: (self._number(path), path.read_bytes()) for path in self.folder.iterdir()}
        yield "lost", {name: self._contents.get(number, b"") for name, number in self._names.items()}
        yield "old names", {name: os.pread(self._held[number], 1 << 20, 0) for name, number in self._names.items()}
        # Names and sizes reach the disk before the bytes do, of which then there are zeros.
        zeros = {name: self._contents.get(number, b"")[: len(now)] for name, (number, now) in here.items()}
        zeros = {name: kept.ljust(len(here[name][1]), b"\0") for name, kept in zeros.items()}
        yield "zeros", zeros
        yield "a name alone", {n: kept for n, kept in zeros.items() if n in self._names or not n.endswith(".journal")}
        now = {name: content for name, (_, content) in here.items()}
        yield "all", now
        yield "journal", zeros | {name: content for name, content in now.items() if name.endswith(".journal")}
        yield "rows", now | {name: content for name, content in zeros.items() if name.endswith(".journal")}

    def close(self) -> None:
        for descriptor in self._held.values():
            os.close(descriptor)

    def _number(self, path: Path) -> int:
        number = path.stat().st_ino
        if number not in self._held:
            self._held[number] = os.open(path, os.O_RDONLY)
        return number


@contextmanager
def every_image(disk: Disk) -> Iterator[dict[str, list[Image]]]:
    """Collect, in the block, what a loss of power could leave after each call that changes the folder."""
    found: dict[str, list[Image]] = {}

    def look(frame: Any, event: str, function: Any) -> None:
        if event == "c_return" and function.__name__ in ("write", "truncate", "replace", "unlink", "open", "fsync"):
            sys.setprofile(None)
            for kind, image in disk.images():
                if image not in found.setdefault(kind, []):
                    found[kind].append(image)
            sys.setprofile(look)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", disk.fsync)
        sys.setprofile(look)
        try:
            yield found
        finally:
            sys.setprofile(None)
            disk.close()


def begun(folder: Path, name: str, image: Image) -> Path:
    folder.mkdir()
    for file, content in image.items():
        (folder / file).write_bytes(content)
    return folder / name


def part(encoder: SentenceEncoder, name: str, folder: Path) -> Image:
    """What a run leaves that ends after 12 of the texts."""

    def until_power_goes() -> Iterator[str]:
        yield from islice(TEXTS, 12)
        raise SystemError

    with pytest.raises(SystemError):
        encode_to_file(encoder, until_power_goes(), begun(folder, name, {}), **CHUNK)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("earlier", [0, 12])
def test_after_a_loss_of_power(
    encoder: SentenceEncoder, name: str, earlier: int, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run from the start, and of one that goes on with a part which ends in what was not committed."""
    there = {name: OLD}
    if earlier:
        there |= part(encoder, name, tmp_path / "part")
        there[f"{name}.partial"] += b"torn" * 5000
    path = begun(tmp_path / "disk", name, there)
    simulated = Disk(path.parent)
    with every_image(simulated) as images:
        encode_to_file(encoder, TEXTS, path, **CHUNK)
        assert dict(simulated.images())["lost"][name] == whole, "the call has ended, and the file is not on the disk"
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    resumed: dict[str, list[int]] = {}
    for kind, found in images.items():
        for i, image in enumerate(found):
            assert image.get(name, OLD) in (OLD, whole), f"{kind}: what has its name is not whole"
            again = begun(tmp_path / f"{kind}{i}", name, image)
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # no damage is found: what the journal names was on the disk before
                resumed.setdefault(kind, []).append(encode_to_file(encoder, TEXTS, again, **CHUNK).resumed)
            assert again.read_bytes() == whole, f"{kind}: {sorted(image)}"
            assert list(again.parent.iterdir()) == [again]
    for kind, counts in resumed.items():
        assert set(counts) - {0} == {4, 8, 12, 16, 20, 23} - set(range(earlier)), kind
        kept = counts[: counts.index(23)]
        assert kept == sorted(kept), f"{kind}: what had been kept was lost later"


def test_after_a_loss_of_power_while_it_begins_anew(
    encoder: SentenceEncoder, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier call left stands whole, or is gone."""
    path = begun(tmp_path / "disk", name, part(encoder, name, tmp_path / "part"))
    simulated = Disk(path.parent)
    with every_image(simulated) as images:
        encode_to_file(encoder, TEXTS, path, resume=False, **{**CHUNK, "normalize_embeddings": True})
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    for kind, found in images.items():
        for i, image in enumerate(found):
            again = begun(tmp_path / f"{kind}{i}", name, image)
            refusal = ""
            try:
                encode_to_file(encoder, TEXTS, again, **{**CHUNK, "normalize_embeddings": True})
            except ValueError as error:
                refusal = str(error)
            if refusal:
                assert "normalize_embeddings was False and is True" in refusal, kind
            else:
                assert again.read_bytes() == path.read_bytes(), kind


def test_an_end_that_fails_costs_nothing(
    encoder: SentenceEncoder, name: str, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file cannot take its name; and no commit was due before."""
    monkeypatch.setattr(journal, "COMMIT_SECONDS", 1e9)
    path = tmp_path / "out" / name
    path.mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as caught:
        encode_to_file(encoder, TEXTS, path, **CHUNK)
    assert caught.value.__notes__ == [f"the first 23 embeddings are in {path}.partial"]
    path.rmdir()
    assert encode_to_file(encoder, TEXTS, path, **CHUNK).resumed == 23
    assert path.read_bytes() == whole


def test_after_a_kill_at_any_byte(
    encoder: SentenceEncoder, name: str, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = part(encoder, name, tmp_path / "part")
    rows, notes = (image[f"{name}.partial{end}"] for end in ("", ".journal"))
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    header, resumed = notes.index(b"\n") + 1, set()
    cases = [(len(rows), size) for size in range(header, len(notes), 13)]
    cases += [(len(rows) + more, len(notes)) for more in (0, 100)]
    for i, (rows_kept, notes_kept) in enumerate(cases):
        kept = {f"{name}.partial": rows.ljust(rows_kept, b"x"), f"{name}.partial.journal": notes[:notes_kept]}
        path = begun(tmp_path / f"kill{i}", name, kept)
        resumed.add(encode_to_file(encoder, TEXTS, path, **{**CHUNK, "chunk_size": 7}).resumed)
        assert path.read_bytes() == whole
    assert resumed == {0, 4, 8, 12}


@pytest.mark.parametrize("file", ["", ".journal"])
def test_a_damaged_row_is_made_anew_and_said(
    encoder: SentenceEncoder, name: str, file: str, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage to a record is as if it had not been written; before the records it is an error."""
    image = part(encoder, name, tmp_path / "part")
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    content = image[f"{name}.partial{file}"]
    start = len(content) // 2 if not file else content.index(b"\n") + 1
    resumed = []
    for i, at in enumerate(range(start, len(content), 29)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << i % 8
        path = begun(tmp_path / str(at), name, {**image, f"{name}.partial{file}": bytes(damaged)})
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            resumed.append(encode_to_file(encoder, TEXTS, path, **CHUNK).resumed)
        if not file:
            assert [f"damaged after its first {resumed[-1]} embeddings" in str(w.message) for w in said] == [True]
            assert said[0].filename == __file__
        else:
            assert not said
        assert path.read_bytes() == whole
    assert {4, 8} <= set(resumed) <= {0, 4, 8}


@pytest.mark.parametrize("times", [1, 99])
def test_what_the_disk_does_not_take_is_not_named(
    encoder: SentenceEncoder, name: str, times: int, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not later either: a second `fsync` says nothing of what the first one lost."""
    path, calls = tmp_path / "full" / name, 0
    path.parent.mkdir()
    honest = os.fsync

    def fails(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if 8 < calls <= 8 + times:
            raise OSError(28, "No space left on device")
        honest(descriptor)

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space left") as caught:
        encode_to_file(encoder, TEXTS, path, **CHUNK)
    monkeypatch.setattr(os, "fsync", honest)
    assert caught.value.__notes__ == [f"the first 8 embeddings are in {path}.partial"]
    assert encode_to_file(encoder, TEXTS, path, **CHUNK).resumed == 8
    assert path.read_bytes() == whole


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of a file whose variable an interruption leaves unset
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_at_any_line(encoder: SentenceEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of the file is what a later call goes on with."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(journal, "COMMIT_SECONDS", 0.0)
    watched, texts, said = {journal.__file__, sinks.__file__, disk.__file__}, TEXTS[:10], set()
    encode_to_file(encoder, texts, tmp_path / "whole.npy", **CHUNK)

    def interrupt_at(n: int) -> Any:
        lines = 0

        def trace(frame: Any, event: str, argument: Any) -> Any:
            nonlocal lines
            if event == "line":
                lines += 1
                if lines == n:
                    raise KeyboardInterrupt
            return trace

        return lambda frame, event, argument: trace if frame.f_code.co_filename in watched else None

    before = sys.gettrace()
    for n in count(1):
        path = begun(tmp_path / str(n), "out.npy", {})
        try:
            sys.settrace(interrupt_at(n))
            encode_to_file(encoder, texts, path, **CHUNK)
            break
        except KeyboardInterrupt as error:
            note = getattr(error, "__notes__", ["nothing was written"])[-1]
        finally:
            sys.settrace(before)
        if not path.exists():
            written = encode_to_file(encoder, texts, path, **CHUNK)
            kept = f"the first {written.resumed} embeddings are in {path}.partial"
            assert note == (kept if written.resumed else "nothing was written"), n
            said.add(written.resumed)
        assert path.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert said == {0, 4, 8, 10}
