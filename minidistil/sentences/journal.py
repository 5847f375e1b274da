"""What has been embedded into a file that is not finished, so that a later process can tell and go on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minidistil._warn import warn_caller
from minidistil.weights.disk import lock, sync, sync_folder, write_at

COMMIT_SECONDS = 1.0  # of work that a loss of power may take, and a kill; each commit waits for the disk twice
_HASH_BYTES = 8  # of a sentence: enough to notice one that has changed, little beside its embedding
_BLOCK = 1 << 20
_RECORD = struct.Struct("<QQQ16s")  # sentences; where their embeddings begin and end in the file; digest of those bytes
_CHECK_BYTES = 8


class _Done(NamedTuple):
    """What is committed: where the journal's records end, embeddings that they name, where those end in the file."""

    at: int
    rows: int
    end: int


class _Noted(NamedTuple):
    """What the record at `at` will tell: hashes of sentences, digest of their embeddings' bytes, where those lie."""

    at: int
    hashes: bytes
    digest: Any
    start: int
    end: int


class Journal:
    """NAME.partial.journal: a line of JSON on how the embeddings are made, then a record for every commit.

    A record has a hash of each sentence and a digest of their embeddings' bytes, and is written when those bytes are on
    the disk. What a resumed call takes over has been compared with both, so that it does not matter what a kill, a loss
    of power or a bad disk has left of the rest. One process at a time has a journal (where the system has `flock`).

    Args:
        partial: the unfinished file.
        circumstances: what must be the same for the file to be gone on with: model, options, layout.
        resume: go on with what is there; else begin anew, and remove the unfinished file.

    Raises:
        ValueError: what is there was made otherwise, or without a journal, or another process is writing it.
        OSError: it cannot be written.
    """

    def __init__(self, partial: Path, circumstances: dict[str, Any], *, resume: bool) -> None:
        self._partial = partial
        self.path = partial.with_name(partial.name + ".journal")
        # Each of these two is assigned as a whole, so that an interruption finds what was before or what is after.
        self._done = _Done(0, 0, 0)
        self._noted: _Noted | None = None
        self._records: list[tuple[int, int]] = []  # sentences of each, and where their hashes stand
        resumes = resume and partial.exists() and partial.stat().st_size > 0
        if resumes and not self.path.exists():
            raise self._cannot_resume(f"there is no {self.path.name} beside it")
        self._file = self.path.open("r+b" if self.path.exists() else "w+b", buffering=0)
        try:
            if not lock(self._file):
                raise ValueError(f"another process is writing {partial}")
            header = json.dumps(circumstances, sort_keys=True).encode() + b"\n"
            self._seed = hashlib.blake2b(header, digest_size=16).digest()  # no record of another header is taken
            self._done = _Done(len(header), 0, 0)
            if resumes:
                self._compare(self._file.readline(), circumstances)
                self._find_records()
            else:
                partial.unlink(missing_ok=True)  # first, lest it be left with a journal that is torn
                sync_folder(partial.parent)  # and the journal's name is there before the file's
                self._file.truncate(0)
                write_at(self._file, 0, header)
                sync(self._file)
            self._committed = time.monotonic()
        except BaseException:
            self._file.close()
            raise

    @property
    def rows(self) -> int:
        """How many embeddings it names."""
        return self._done.rows

    @property
    def end(self) -> int:
        """Where they end in the file; 0 for none."""
        return self._done.end

    def skip(self, sentences: Iterator[str]) -> None:
        """Read the sentences of the first `rows` embeddings, and see that they are the ones that were embedded.

        Raises:
            ValueError: one is another, or there are fewer.
        """
        row = 0
        for count, at in self._records:
            self._file.seek(at)
            noted = self._file.read(count * _HASH_BYTES)
            for start in range(0, len(noted), _HASH_BYTES):
                sentence = next(sentences, None)
                if sentence is None:
                    raise self._cannot_resume(f"it holds {self.rows:,} embeddings, and there are {row:,} sentences now")
                if _hash(sentence) != noted[start : start + _HASH_BYTES]:
                    raise self._cannot_resume(
                        f"sentence {row:,} (counted from 0) is another than the one it was made of"
                    )
                row += 1

    def note(self, sentences: Sequence[str], start: int, data: bytes) -> None:
        """Note sentences, and the bytes of their embeddings, which begin at `start`, for the next commit."""
        noted = self._noted
        if noted is None or noted.at != self._done.at:
            noted = _Noted(self._done.at, b"", _digest(), start, start)
        digest = noted.digest.copy()
        digest.update(data)
        hashes = noted.hashes + b"".join(map(_hash, sentences))
        self._noted = noted._replace(hashes=hashes, digest=digest, end=noted.end + len(data))

    @property
    def due(self) -> bool:
        """Whether the last commit lies so long back that it is time for another."""
        return time.monotonic() - self._committed >= COMMIT_SECONDS

    def commit(self, sync_rows: Callable[[], None]) -> None:
        """Bring what is noted to the disk: first the embeddings, which `sync_rows` sees to, then the record of them.

        Raises:
            OSError: the disk does not take it; what was noted since the last commit is forgotten.
        """
        noted, (at, rows, _) = self._noted, self._done
        if noted is None or noted.at != at:
            return
        count = len(noted.hashes) // _HASH_BYTES
        record = _RECORD.pack(count, noted.start, noted.end, noted.digest.digest()) + noted.hashes
        record += self._check(record)
        try:
            sync_rows()
            self._file.truncate(at)  # what an earlier process wrote there was not whole
            write_at(self._file, at, record)
            sync(self._file)
        except OSError:
            self._noted = None
            raise
        self._done = _Done(at + len(record), rows + count, noted.end)
        self._committed = time.monotonic()

    def close(self, *, remove: bool) -> None:
        """Let go of it, cut to what was committed; `remove` it where there is nothing to go on with, or no need to."""
        with contextlib.suppress(OSError):  # what stands there is no harm: its embeddings are cut off
            self._file.truncate(self._done.at)
        self._file.close()
        if remove:
            self._partial.unlink(missing_ok=True)  # where it stands without an embedding
            self.path.unlink(missing_ok=True)

    def _find_records(self) -> None:
        """The records that are whole and whose embeddings are in the file as they were written."""
        size = self.path.stat().st_size
        with self._partial.open("rb", buffering=0) as file:
            while True:
                at, rows, last = self._done
                self._file.seek(at)
                head = self._file.read(_RECORD.size)
                if len(head) < _RECORD.size:
                    return
                count, start, end, digest = _RECORD.unpack(head)
                length = _RECORD.size + count * _HASH_BYTES
                if not count or at + length + _CHECK_BYTES > size:
                    return
                record, check = head + self._file.read(count * _HASH_BYTES), self._file.read(_CHECK_BYTES)
                if check != self._check(record) or (rows and start != last):
                    return
                if _digest_between(file, start, end) != digest:
                    message = f"{self._partial} is damaged after its first {rows:,} embeddings: from there on they"
                    warn_caller(RuntimeWarning(f"{message} are made anew"))
                    return
                self._records.append((count, at + _RECORD.size))
                self._done = _Done(at + length + _CHECK_BYTES, rows + count, end)

    def _check(self, record: bytes) -> bytes:
        return hashlib.blake2b(record, digest_size=_CHECK_BYTES, key=self._seed).digest()

    def _compare(self, header: bytes, circumstances: dict[str, Any]) -> None:
        try:
            found = json.loads(header)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._cannot_resume(f"{self.path.name} is damaged")
        differing = [name for name in found | circumstances if found.get(name) != circumstances.get(name)]
        if differing:
            told = ", ".join(f"{name} was {found.get(name)!r} and is {circumstances.get(name)!r}" for name in differing)
            raise self._cannot_resume(f"it was made otherwise: {told}")

    def _cannot_resume(self, why: str) -> ValueError:
        return ValueError(
            f"{self._partial} cannot be gone on with: {why}; call it as before, or begin anew with resume=False"
        )


def _hash(sentence: str) -> bytes:
    return hashlib.blake2b(sentence.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).digest()


def _digest() -> Any:
    return hashlib.blake2b(digest_size=16)


def _digest_between(file: Any, start: int, end: int) -> bytes:
    """Of the bytes of a file from `start` to `end`, or to where it ends."""
    digest = _digest()
    file.seek(start)
    while start < end and (block := file.read(min(_BLOCK, end - start))):
        digest.update(block)
        start += len(block)
    found: bytes = digest.digest()
    return found
