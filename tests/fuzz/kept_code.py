"""Kept machine code that somebody changed: it is made anew, never run."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np

import minidistil
from minidistil.kernels import native
from tests.fuzz import byte_text, checkpoints
from tests.fuzz.outcomes import Executed, compare

_ENTRY = "encode"
_IDS = np.array([[1, 2, 3], [4, 5, 22]])


class KeptCode:
    """Object files of kernels: what is found whole is the code that was kept, and anything else is not used."""

    name = "code"
    reads_files = False

    def prepare(self, folder: Path) -> None:
        checkpoint = folder / "model"
        checkpoint.mkdir(parents=True)
        checkpoints.write(checkpoints.single()["distilbert F32"], checkpoint)
        self.model: Any = minidistil.load(checkpoint, threads=1)
        self.want = self.model(_IDS)  # compiles, and keeps
        found = [path for place in native._folders() if (path := place / native._file(_ENTRY)).is_file()]
        if not found:
            raise RuntimeError("no machine code is kept on this machine: no folder for it can be written")
        self.content, self.file = found[0].read_bytes(), found[0].name
        self.read = native._read(_ENTRY)

    def run(self, rng: random.Random, folder: Path, told: list[str]) -> str:
        content = self.content
        head = content.index(b"\n") + 1
        untouched = rng.random() < 0.02
        for _ in range(0 if untouched else rng.choice((1, 1, 2))):
            content, what = byte_text.mutate(content, rng, head if rng.random() < 0.5 else None)
            told.append(what)
        checkpoints.write({f"minidistil/{self.file}": content}, folder)
        os.environ["NUMBA_CACHE_DIR"] = str(folder)
        native.entry.cache_clear()
        native._linker.cache_clear()
        native._compile, kept = _unavailable, native._compile
        try:
            got = self.model(_IDS)
        except native.Unavailable:
            if untouched:
                raise RuntimeError("code that nobody touched is refused") from None
            return "refused"
        finally:
            native._compile = kept
        if native._read(_ENTRY) != self.read:
            raise Executed("code other than what was kept")
        compare(got, self.want, "model")
        return "accepted"


def _unavailable(name: str) -> Any:
    raise native.Unavailable("this test compiles nothing")
