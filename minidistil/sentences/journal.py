"""What has been embedded into a file that is not finished, so that a later process can tell and go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_HASH_BYTES = 8  # of a sentence: enough to notice one that has changed, little beside its embedding
_BLOCK = 4096  # hashes that are read at a time


class Journal:
    """NAME.partial.journal: a line of JSON on how the embeddings are made, then a hash of each sentence.

    Sentences are noted before their embeddings are written, so it is never behind the file that it goes with. One
    process at a time has it (where the system has `flock`).

    Args:
        partial: the unfinished file.
        circumstances: what must be the same for the file to be gone on with: model, options, layout.
        resume: go on with what is there; else begin anew.

    Attributes:
        resumes: whether there is something to go on with.

    Raises:
        ValueError: what is there was made otherwise, or without a journal, or another process is writing it.
        OSError: it cannot be written.
    """

    def __init__(self, partial: Path, circumstances: dict[str, Any], *, resume: bool) -> None:
        self._partial = partial
        self.path = partial.with_name(partial.name + ".journal")
        self.resumes = resume and partial.exists() and partial.stat().st_size > 0
        if self.resumes and not self.path.exists():
            raise self._cannot_resume(f"there is no {self.path.name} beside it")
        self._file = self.path.open("r+b" if self.path.exists() else "w+b", buffering=0)
        try:
            self._lock()
            header = json.dumps(circumstances, sort_keys=True).encode() + b"\n"
            if self.resumes:
                self._compare(self._file.readline(), circumstances)
            else:
                self._file.truncate(0)
                self._file.write(header)
            self._start = len(header)
        except BaseException:
            self._file.close()
            raise

    def skip(self, sentences: Iterator[str], rows: int) -> None:
        """Read the sentences of the first `rows` embeddings, and see that they are the ones that were embedded.

        Raises:
            ValueError: one is another, or there are fewer.
        """
        block = b""
        for row in range(rows):
            at = row % _BLOCK * _HASH_BYTES
            if not at:
                self._file.seek(self._start + row * _HASH_BYTES)
                block = self._file.read(_BLOCK * _HASH_BYTES)
            noted = block[at : at + _HASH_BYTES]
            sentence = next(sentences, None)
            if len(noted) < _HASH_BYTES:
                raise self._cannot_resume(f"its journal ends at sentence {row:,} of {rows:,}")
            if sentence is None:
                raise self._cannot_resume(f"it holds {rows:,} embeddings, and there are {row:,} sentences now")
            if _hash(sentence) != noted:
                raise self._cannot_resume(f"sentence {row:,} (counted from 0) is another than the one it was made of")

    def note(self, sentences: Sequence[str], rows: int) -> None:
        """Note sentences whose embeddings will stand after the first `rows`."""
        self._file.seek(self._start + rows * _HASH_BYTES)
        rest = memoryview(b"".join(map(_hash, sentences)))
        while rest:
            rest = rest[self._file.write(rest) :]

    def close(self, *, remove: bool) -> None:
        """Let go of it; `remove` it where there is nothing left to go on with."""
        self._file.close()
        if remove:
            self.path.unlink(missing_ok=True)

    def _lock(self) -> None:
        try:
            import fcntl
        except ModuleNotFoundError:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process is writing {self._partial}") from None

    def _compare(self, header: bytes, circumstances: dict[str, Any]) -> None:
        try:
            found = json.loads(header)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._cannot_resume(f"{self.path.name} is damaged")
        differing = [name for name in circumstances if found.get(name) != circumstances[name]]
        if differing:
            told = ", ".join(f"{name} was {found.get(name)!r} and is {circumstances[name]!r}" for name in differing)
            raise self._cannot_resume(f"it was made otherwise: {told}")

    def _cannot_resume(self, why: str) -> ValueError:
        return ValueError(
            f"{self._partial} cannot be gone on with: {why}; call it as before, or begin anew with resume=False"
        )


def _hash(sentence: str) -> bytes:
    return hashlib.blake2b(sentence.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).digest()
