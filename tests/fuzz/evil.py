"""A target that does all that a parser must not do: the harness has to see it."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import time
from pathlib import Path

import numpy as np

from minidistil.weights import CheckpointError
from tests.fuzz.outcomes import Executed, compare


class Evil:
    """Each case is another deed, in the order of DEEDS; the file that it speaks of is `config.json` of its folder."""

    name = "evil"
    reads_files = True

    def prepare(self, folder: Path) -> None:
        pass

    def run(self, rng: random.Random, folder: Path, told: list[str]) -> str:
        del rng
        number = len(list(folder.parent.glob("deed-*")))
        (folder.parent / f"deed-{number}").touch()
        name = list(DEEDS)[number % len(DEEDS)]
        told.append(name)
        _deed(name, folder)
        return "accepted"


def _deed(name: str, folder: Path) -> None:
    file = folder / "config.json"
    if name == "refuses":
        raise CheckpointError(file, "is bad")
    if name == "reads nowhere":
        ctypes.string_at(8)
    elif name == "aborts":
        os.kill(os.getpid(), signal.SIGABRT)
    elif name == "exits":
        os._exit(3)
    elif name == "computes for ever":
        while True:
            pass
    elif name == "waits for ever":
        time.sleep(1e6)
    elif name == "asks for memory":
        bytearray(1 << 40)
    elif name == "takes memory":
        np.ones(200 << 17)  # 200 MiB
    elif name == "another error":
        {}["key"]
    elif name == "names no file":
        raise CheckpointError("elsewhere", "is bad")
    elif name == "says too much":
        raise CheckpointError(file, "x" * (1 << 21))
    elif name == "wrong bits":
        compare(np.float32(0.0), np.float32(-0.0), "zero")
    elif name == "one array less":
        compare((), (np.zeros(1),), "nothing")
    elif name == "executes":
        raise Executed("something")


DEEDS = {
    "accepts": "accepted", "refuses": "refused", "reads nowhere": "crash", "aborts": "crash", "exits": "crash",
    "computes for ever": "hang", "waits for ever": "hang", "asks for memory": "memory", "takes memory": "memory",
    "another error": "wrong error", "names no file": "wrong error", "says too much": "wrong error",
    "wrong bits": "wrong bits", "one array less": "wrong bits", "executes": "executed",
}  # fmt: skip
"""What is done, and how it is to be counted."""
