"""What a run says of itself: a line of JSON for every step and every evaluation, none twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minidistil._warn import warn_caller
from minidistil.weights.disk import sync, write_at


class Log:
    """The log of a run, cut to what belongs to the steps that are done.

    Args:
        path: of the file.
        end: its bytes that count; what stands behind them was of steps that are done again.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, end: int) -> None:
        self.path = path
        self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        there = path.stat().st_size
        if there < end:
            warn_caller(RuntimeWarning(f"{path} has lost its end: lines of steps that are done are missing"))
        self.end = min(end, there)
        self._file.truncate(self.end)

    def write(self, line: dict[str, Any]) -> None:
        """Add a line.

        Raises:
            OSError: the disk does not take it.
        """
        data = (json.dumps(line) + "\n").encode()
        write_at(self._file, self.end, data)
        self.end += len(data)

    def sync(self) -> None:
        """Return when the lines are on the disk."""
        sync(self._file)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log; of one that is being written, those that are whole."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
