"""The state of a run on the disk: whole, checked when it is read, and the one before kept until the next is there.

A file: a line of JSON, filled up to 4096 bytes; then parameters and AdamW's two moments, float32 [n] each, as they lie
in memory (backends/parameters.py).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidistil.backends.learning import Learner
from minidistil.sentences.growing import partial_path
from minidistil.weights.checksum import checksum
from minidistil.weights.disk import sync, sync_folder
from minidistil.weights.small_files import parse_json

_HEADER_BYTES = 4096
_FORMAT = 1
_BLOCKS = ("values", "first", "second")


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        step: the last one that was done; 0 for none.
        evaluated: the last step after which the held-out data were read.
        figures: what was found then.
        log: bytes of the log that belong to these steps.
        tokens: that were learned from so far.
        seconds: that it took.
    """

    step: int = 0
    evaluated: int = 0
    figures: dict[str, float] | None = None
    log: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Checkpoints:
    """The checkpoints of a run.

    Args:
        folder: where they lie.
        circumstances: a digest of what the run depends on; checkpoints of another are not read.

    Attributes:
        last: the step of the last good one; 0 for none.
    """

    def __init__(self, folder: Path, circumstances: str) -> None:
        self.path = folder / "checkpoint"
        self.previous = folder / "checkpoint.previous"
        self._circumstances = circumstances
        self.last = 0

    def write(self, learner: Learner, progress: Progress) -> None:
        """Write a checkpoint; once it is on the disk, it takes the place of the last one.

        Raises:
            OSError: it cannot be written; the last one is what it was.
        """
        blocks = _blocks(learner)
        head = self._head(learner) | asdict(progress) | {"checksums": [checksum(block) for block in blocks]}
        line = json.dumps(head).encode()
        line += b" " + _check(line)
        parts: list[Any] = [line.ljust(_HEADER_BYTES - 1) + b"\n", *blocks]
        partial = partial_path(self.path)
        try:
            with partial.open("wb", buffering=0) as file:
                for data in parts:
                    rest = memoryview(data)
                    while rest:
                        rest = rest[file.write(rest) :]
                sync(file)
            if self.path.exists():
                self.path.replace(self.previous)
            partial.replace(self.path)
            sync_folder(self.path.parent)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        self.last = progress.step

    def read(self, learner: Learner) -> Progress:
        """Put the last good checkpoint into a learner, which is to be told so; no steps where there never was one.

        Raises:
            ValueError: there are checkpoints, and none of them is good.
            OSError: they cannot be read.
        """
        there = [path for path in (self.path, self.previous) if path.exists()]
        faults = []
        for path in there:
            try:
                found = self._read(path, learner)
            except ValueError as error:
                faults.append(f"{path.name} {error}")
                continue
            self.last = found.step
            return found
        if faults:
            raise ValueError(
                f"{self.path.parent}: the run cannot be gone on with: {'; '.join(faults)}; begin anew with restart=True"
            )
        return Progress()

    def remove(self) -> None:
        """Remove them all."""
        for path in (self.path, self.previous, partial_path(self.path)):
            path.unlink(missing_ok=True)

    def _head(self, learner: Learner) -> dict[str, Any]:
        places = {name: [at, *shape] for name, (at, shape) in learner.parameters.places.items()}
        digest = hashlib.blake2b(json.dumps(places).encode(), digest_size=16).hexdigest()
        return {
            "format": _FORMAT, "circumstances": self._circumstances, "places": digest,
            "floats": len(learner.parameters.values),
        }  # fmt: skip

    def _read(self, path: Path, learner: Learner) -> Progress:
        with path.open("rb", buffering=0) as file:
            header = file.read(_HEADER_BYTES).rstrip()
            line, _, check = header.rpartition(b" ")
            if _check(line) != check:
                raise ValueError("is damaged at its beginning")
            head = parse_json(line)
            for name, value in self._head(learner).items():
                if head.pop(name, None) != value:
                    raise ValueError(f"is of another run or model ({name})")
            sums = head.pop("checksums")
            for name, block, told in zip(_BLOCKS, _blocks(learner), sums, strict=True):
                at = 0
                while at < len(block) and (count := file.readinto(block[at:])):
                    at += count
                if at < len(block) or checksum(block) != told:
                    raise ValueError(f"is damaged: its {name} have other bytes than were written")
            if file.read(1):
                raise ValueError("is longer than it was written")
        return Progress(**head)


def finite(learner: Learner) -> bool:
    """Whether all parameters are numbers."""
    return bool(np.isfinite(learner.parameters.values).all())


def _blocks(learner: Learner) -> list[memoryview]:
    return [memoryview(getattr(learner.parameters, name)).cast("B") for name in _BLOCKS]


def _check(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=8).hexdigest().encode()
