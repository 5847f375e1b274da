"""The engine's entries on an emulated 64-bit ARM machine, in the place of its own.

`Emulator.entry` stands in for `native.entry`: it copies what a call points to into a file, runs the entry's AArch64
code under qemu, and copies the results back. Every array has exactly the size that the operands of the steps say,
between guards: reading or writing beyond it ends the run.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from build_backend import libraries
from minidistil.kernels.code import native, shipped, target
from tests import steps
from tests.processes import run

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
SYSTEM = "/usr/aarch64-linux-gnu"  # the emulated machine's loader and C library


class Region(NamedTuple):
    """An array: its address, its size in bytes, and whether its int64 may be addresses of others."""

    address: int
    size: int
    holds_addresses: bool = False


def build(folder: Path) -> None:
    """Make the library of the wheel for AArch64, and link it with the harness, for each entry."""
    library = libraries.make_apart("aarch64", folder / "aarch64.so", "tests.machines.cross")
    for name in native.ENTRIES:
        options = ["-O1", "-Wall", "-Werror", "-pthread", f'-DENTRY="{shipped.ENTRY_PREFIX}{name}"']
        files = [str(Path(__file__).with_name("harness.c")), str(library)]
        done = run([COMPILER, *options, *files, "-o", folder / name])
        assert done.returncode == 0, done.stderr


class Emulator:
    """Runs what `build` has left in a folder; `runs` tells of each call which operations it took, in their order.

    It is called in a floating-point mode, a value of the register FPCR, and must leave it as it was.
    """

    def __init__(self, folder: Path, mode: int = 0) -> None:
        self.folder, self.mode = folder, mode
        self.runs: list[list[str]] = []

    def takes_over(self, patch: pytest.MonkeyPatch) -> None:
        """From here on the engine runs on the emulated machine, and weights are packed for it."""
        patch.setattr(native, "entry", self.entry)
        patch.setattr(target, "sliver", lambda: target.TILES[4].sliver)

    def entry(self, name: str) -> native.Entry:
        """What `native.entry` gives."""

        def call(address: int, thread: int, threads: int) -> bool:
            # The first of a team runs all of it: the harness starts its own threads.
            if thread > 0:
                return True
            self.runs.append([type(step.operands).__name__ for step in steps.read_call(address, name).steps])
            return self._run(name, list(regions(address, threads, name)), threads)

        return call

    def _run(self, name: str, places: list[Region], threads: int) -> bool:
        contents = [bytearray(ctypes.string_at(place.address, place.size)) for place in places]
        moves = np.array(list(_relocations(places, contents)), np.int64).reshape(-1, 4)
        sizes = [place.size for place in places]
        head = np.array([threads, len(places), *sizes, len(moves), *moves.ravel()], np.int64)
        given, result = self.folder / f"{name}.in", self.folder / f"{name}.out"
        given.write_bytes(head.tobytes() + b"".join(contents))
        command = [EMULATOR, "-L", SYSTEM, str(self.folder / name), str(given), str(result), str(self.mode)]
        done = run(command)
        assert done.returncode == 0, f"{name}: status {done.returncode} {done.stderr}"

        output, ends = result.read_bytes(), 16 * threads
        assert len(output) == ends + sum(sizes)
        returned = np.frombuffer(output[:ends], np.int64).reshape(threads, 2)
        assert not returned[:, 0].any(), f"{name}: statuses {returned[:, 0]}"
        for place, before in zip(places, contents, strict=True):
            after = output[ends : ends + place.size]
            # Those that hold addresses have the emulated machine's; what has not changed may be a read-only map.
            if not place.holds_addresses and after != before:
                ctypes.memmove(place.address, after, place.size)
            ends += place.size
        return bool((returned[:, 1] & 1).all())


def _relocations(places: list[Region], contents: list[bytearray]) -> Iterator[tuple[int, int, int, int]]:
    """Where an address of a region is kept: (region, offset, target region, target offset)."""
    for i, place in enumerate(places):
        if place.holds_addresses:
            for slot, value in enumerate(np.frombuffer(contents[i], np.int64)):
                for j, target in enumerate(places):
                    if target.address <= value < target.address + target.size:
                        yield i, slot * 8, j, int(value) - target.address
                        break
                else:
                    assert 0 <= value < 2**32, f"region {i} slot {slot}: an address of nothing known"


def regions(address: int, threads: int, entry: str = "run") -> Iterator[Region]:
    """Everything that a call points to, as the operands of its steps say (tests/steps.py); the call comes first.

    What steps touch of one array is one region, from the first byte to the last.
    """
    call = steps.read_call(address, entry)
    yield Region(address, call.size, holds_addresses=True)
    places = [(place.start, place.end) for step in call.steps for place in steps.touched(step, threads)]
    places.append((call.run.scratch, call.run.scratch + threads * call.run.scratch_floats * 4))
    places.append((call.run.clock, call.run.clock + call.run.length * 8 if call.run.clock else 0))
    start = end = 0
    for first, last in sorted(place for place in places if place[1] > place[0]):
        if first < end:
            end = max(end, last)
            continue
        if end > start:
            yield Region(start, end - start)
        start, end = first, last
    yield Region(start, end - start)
