"""The folder of a run: one process's at a time, and of one run, which goes on or is begun anew in so many words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minidistil.sentences.growing import partial_path
from minidistil.weights.disk import lock, sync, sync_folder
from minidistil.weights.errors import quoted
from minidistil.weights.small_files import read_object, read_object_if_there

_RUN, _FINISHED = "run.json", "finished.json"
_TEMPORARY = ("train.tokens", "held_out.tokens", "checkpoint", "checkpoint.previous")


class RunFolder:
    """Below the folder of the result: what the run is (run.json), its log, and until it is finished all that it needs.

    For a `with` block, in which no other process has it.

    Args:
        path: made where it is not there.

    Raises:
        ValueError: another process is training there.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = (path / "lock").open("ab")
        if not lock(self._lock):
            self._lock.close()
            raise ValueError(f"{path}: another process is training there")

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.close()

    @property
    def log(self) -> Path:
        """The log's file."""
        return self.path / "log.jsonl"

    @property
    def begun(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / _RUN).exists()

    def agree(self, circumstances: Mapping[str, Any], *, restart: bool) -> str:
        """Begin a run, or go on with the one that is there.

        Args:
            circumstances: what its result follows from, as JSON.
            restart: begin anew, whatever is there.

        Returns:
            A digest of the circumstances.

        Raises:
            ValueError: what is there is another run; says what differs.
        """
        if restart:
            for name in (_RUN, _FINISHED, self.log.name, *_TEMPORARY):  # without the first nothing is gone on with
                (self.path / name).unlink(missing_ok=True)
            sync_folder(self.path)
        now = json.loads(json.dumps(circumstances))
        if not self.begun:
            self._write(_RUN, now)
        found = read_object(self.path / _RUN)
        differing = [name for name in found | now if found.get(name) != now.get(name)]
        if differing:
            told = "; ".join(
                f"{name} was {_shown(found.get(name))} and is {_shown(now.get(name))}" for name in differing
            )
            raise ValueError(
                f"{self.path}: an earlier run here was another: {told}. Call it as before to go on, name another "
                "folder, or begin anew with restart=True"
            )
        return hashlib.blake2b(json.dumps(now, sort_keys=True).encode(), digest_size=16).hexdigest()

    @property
    def finished(self) -> dict[str, Any] | None:
        """What was said when the run ended; None where it has not."""
        return read_object_if_there(self.path / _FINISHED) or None

    def finish(self, told: Mapping[str, Any]) -> None:
        """Say that the result is written, and remove what is of no more use."""
        self._write(_FINISHED, dict(told))
        for name in _TEMPORARY:
            for path in (self.path / name, partial_path(self.path / name)):
                path.unlink(missing_ok=True)

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        partial = partial_path(self.path / name)
        with partial.open("wb") as file:
            file.write((json.dumps(content, indent=2) + "\n").encode())
            file.flush()
            sync(file)
        partial.replace(self.path / name)
        sync_folder(self.path)


def _shown(value: Any) -> str:
    return "unset" if value is None else quoted(json.dumps(value))
