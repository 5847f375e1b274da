"""Files that grow: whole after every append, and opened again to go on where they end.

A file is written beside its name, as NAME.partial, and takes its name when it is finished and on the disk. What it has
counts from one assignment after the bytes are in the file, so wherever an interruption falls, rows and count agree once
it is closed. Which of them a later process may go on with, the journal says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from minidistil.sentences.journal import Journal
from minidistil.weights.disk import sync, sync_folder, write_at

File = TypeVar("File", bound="Growing")


class Growing:
    """A file of rows that grows.

    Args:
        path: where the finished file is to lie.
        done: rows to keep of NAME.partial, and where they end in it; with none it is written anew.

    Raises:
        OSError: the file cannot be opened for writing.
        ValueError: what is to be kept has another layout.
    """

    what = "rows"  # as messages call them

    def __init__(self, path: Path, *, done: tuple[int, int] = (0, 0)) -> None:
        self.path = path
        self.partial = partial_path(path)
        self._file = self.partial.open("r+b" if done[0] else "w+b", buffering=0)
        self._done = done  # rows, and the place where they end; one assignment, so that they always agree
        try:
            if self.rows:
                self._compare_header()
            else:
                header = self._header(0)
                write_at(self._file, 0, header)
                self._done = (0, len(header))
                sync_folder(path.parent)
        except BaseException:
            self._file.close()
            raise

    @property
    def rows(self) -> int:
        """How many rows the file holds."""
        return self._done[0]

    @property
    def end(self) -> int:
        """Where they end in it."""
        return self._done[1]

    def extend(self, data: bytes, rows: int) -> None:
        """Write the bytes of so many rows at `end`."""
        done, end = self._done
        write_at(self._file, end, data)
        self._done = (done + rows, end + len(data))
        self._count()

    def sync(self) -> None:
        """Return when what was appended is on the disk."""
        sync(self._file)

    def finish(self) -> None:
        """Give the file its name, when all of it is on the disk; nothing can be appended afterwards."""
        self._close(sync=True)
        self.partial.replace(self.path)
        sync_folder(self.path.parent)

    def abandon(self, done: tuple[int, int] | None = None) -> str:
        """Close the file with what it holds, or with no more than `done`, or remove it where that is nothing.

        Returns:
            In words where the rows lie.
        """
        self._done = self._done if done is None else done
        self._close()
        if not self.rows:
            self.partial.unlink(missing_ok=True)
            return "nothing was written"
        return f"the first {self.rows:,} {self.what} are in {self.partial}"

    def _header(self, rows: int) -> bytes:
        """What stands before the first row."""
        return b""

    def _compare_header(self) -> None:
        """Refuse a file that begins otherwise than this one would."""

    def _count(self) -> None:
        """Bring what the file says of its rows up to date."""

    def _close(self, *, sync: bool = False) -> None:
        if not self._file.closed:
            self._file.truncate(self.end)
            self._count()
            if sync:
                self.sync()
            self._file.close()


class Kept(Generic[File]):
    """A growing file with its journal, for a `with` block: finished at its end; an error leaves what is whole.

    Args:
        path: where the finished file is to lie.
        circumstances: what must be the same for it to be gone on with.
        open_file: opens it, given the rows that are there and where they end.
        resume: go on with what is there; else begin anew.

    Attributes:
        file: to append to; what was appended is told to `take`.
        resumed: rows that an earlier process has left.

    Raises:
        ValueError: what is there cannot be gone on with.
        OSError: it cannot be written.
    """

    def __init__(
        self,
        path: Path,
        circumstances: dict[str, Any],
        open_file: Callable[[tuple[int, int]], File],
        *,
        resume: bool,
    ) -> None:
        self._journal = Journal(partial_path(path), circumstances, resume=resume)
        try:
            self.file = open_file((self._journal.rows, self._journal.end))
        except BaseException as error:
            self._end(error, "nothing was written")
            raise
        self.resumed = self.file.rows

    def skip(self, keys: Iterator[str]) -> None:
        """Read the keys of the rows that are there, and see that they are the same (ValueError)."""
        self._journal.skip(keys)

    def take(self, keys: Sequence[str], start: int, data: bytes) -> None:
        """Note rows that were appended at `start`, and once a second bring all to the disk."""
        self._journal.note(keys, start, data)
        if self._journal.due:
            self._journal.commit(self.file.sync)

    def __enter__(self) -> Kept[File]:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is not None:
            self._end(error, self._keep())
            return
        try:
            self._journal.commit(self.file.sync)
            self.file.finish()
        except BaseException as failure:
            self._end(failure, self._keep())
            raise
        self._journal.close(remove=True)

    def _keep(self) -> str:
        """Close the file with all rows that a later call can go on with; says how many they are."""
        with contextlib.suppress(OSError):  # a full disk may be what brought us here: then the last commit's are kept
            self._journal.commit(self.file.sync)
        return self.file.abandon((self._journal.rows, self._journal.end))

    def _end(self, error: BaseException, note: str) -> None:
        add_note(error, note)
        self._journal.close(remove=not self._journal.rows)


def partial_path(path: Path) -> Path:
    """Where a file lies until it is finished."""
    return path.with_name(path.name + ".partial")


def add_note(error: BaseException, note: str) -> None:
    """`BaseException.add_note` of Python 3.11, which shows it below the traceback; the command line shows it too."""
    error.__notes__ = [*getattr(error, "__notes__", ()), note]  # type: ignore[attr-defined]
