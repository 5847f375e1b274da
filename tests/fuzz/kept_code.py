"""Kept machine code that somebody changed, or could have: it is made anew, never run."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np

import minidistil
from minidistil.kernels.code import kept, native
from tests.fuzz import byte_text, checkpoints
from tests.fuzz.outcomes import Executed, compare

_ENTRY = "run"
_IDS = np.array([[1, 2, 3], [4, 5, 22]])
_OPEN_MODES = (0o666, 0o602, 0o646, 0o777, 0o707)
_NOBODY = 65534


class KeptCode:
    """Object files of kernels: what is found whole, where nobody else writes, is run; all else is compiled anew."""

    name = "code"
    reads_files = False

    def prepare(self, folder: Path) -> None:
        checkpoint = folder / "model"
        checkpoint.mkdir(parents=True)
        checkpoints.write(checkpoints.single()["distilbert F32"], checkpoint)
        self.model: Any = minidistil.AutoModel.from_pretrained(checkpoint, threads=1)  # calls this entry only
        self.want = self.model(_IDS)  # compiles, and keeps
        if kept.read(_ENTRY, native._key()) is None:  # no folder of this machine is trusted; this one is
            os.environ["NUMBA_CACHE_DIR"] = str(folder)
            kept.directory.cache_clear()
            native._entries.clear()
            native.entry(_ENTRY)
        self.whole = kept.read(_ENTRY, native._key())
        files = [place / f"{_ENTRY}-{native._key()}.o" for place in kept.folders()]
        path = next(path for path in files if path.is_file())
        self.content, self.file = path.read_bytes(), path.name

    def run(self, rng: random.Random, folder: Path, told: list[str]) -> str:
        content = self.content
        kind = rng.choices(("bytes", "others", "untouched"), (70, 28, 2))[0]
        if kind == "bytes":
            head = content.index(b"\n{") + 200
            for _ in range(rng.choice((1, 1, 2))):
                content, what = byte_text.mutate(content, rng, head if rng.random() < 0.5 else None)
                told.append(what)
        checkpoints.write({f"minidistil/{self.file}": content}, folder)
        path = folder / "minidistil" / self.file
        for place, mode in ((folder, 0o700), (path.parent, 0o700), (path, 0o600)):
            os.chown(place, os.geteuid(), -1)
            place.chmod(mode)
        if kind == "others":
            told.append(_open_to_others(path, rng))
        os.environ["NUMBA_CACHE_DIR"] = str(folder)
        native._entries.clear()
        native._linker.cache_clear()
        native._compile, compiler = _unavailable, native._compile
        try:
            got = self.model(_IDS)
        except native.Unavailable:
            if kind == "untouched":
                raise RuntimeError("code that nobody touched is refused") from None
            return "refused"
        finally:
            native._compile = compiler
        if kind == "others" or kept.read(_ENTRY, native._key()) != self.whole:
            raise Executed("code that somebody else could have written")
        compare(got, self.want, "model")
        return "accepted"


def _open_to_others(path: Path, rng: random.Random) -> str:
    """Let others than this user write the file, or a folder that it lies in; or put something else in its place."""
    place = rng.choice((path, path.parent, path.parent.parent))
    mode = rng.choice(_OPEN_MODES)
    change = rng.randrange(5)
    if change == 0:
        path.rename(path.with_suffix(".x"))
        path.symlink_to(path.with_suffix(".x"))
        return "a link to the file"
    if change == 1:
        path.unlink()
        os.mkfifo(path)
        return "a pipe"
    if change == 2 and os.geteuid() == 0:
        os.chown(place, _NOBODY, -1)
        return f"{place.name} belongs to nobody"
    place.chmod(mode)
    return f"{place.name} has mode {mode:o}"


def _unavailable(name: str) -> Any:
    raise native.Unavailable("this test compiles nothing")
