"""Memory that loading takes and gives back: pages of a mapped file, and that of weights in another precision."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from minidistil.weights._storage import empty_apart, release_pages
from minidistil.weights.codes import coded
from tests.processes import python

ROOT = Path(__file__).parents[2]

needs_proc = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="reads resident memory from /proc")


def resident(array: np.ndarray) -> int:
    """Bytes in memory of the map that an array begins in."""
    within = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, _, rest = line.partition(" ")
        if not first.endswith(":"):
            start, end = (int(part, 16) for part in first.split("-"))
            within = start <= array.ctypes.data < end
        elif within and first == "Rss:":
            return int(rest.split()[0]) * 1024
    raise AssertionError("no such map")


def mapped(path: Path, size: int) -> np.ndarray:
    """A file's bytes, mapped as checkpoints are."""
    with path.open("wb", buffering=0) as file:
        for _ in range(size // 4096):  # at once, and some file systems hold, and map, it in pieces of megabytes
            file.write(bytes(range(256)) * 16)
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


@needs_proc
@pytest.mark.parametrize("block", [5_000, 250_000])
def test_nothing_of_a_file_stays_that_is_read_block_by_block(block: int, tmp_path: Path) -> None:
    """Not the pages around each block either, which the system brings along."""
    data = mapped(tmp_path / "file", 4 << 20)
    for first in range(1000, data.size, block):
        assert data[first : first + block].any()
        assert resident(data) > 0
        release_pages(data[first : first + block])
    assert resident(data) == 0
    assert data[1000] == 1000 % 256


def test_pages_that_are_nowhere_else_are_kept() -> None:
    array = empty_apart((1000, 1000), np.int8)
    assert isinstance(array.base, np.ndarray)
    array[:] = 7
    release_pages(array)
    assert (array == 7).all()


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (7, 5), (65_536, 1), (300, 701)])
def test_an_array_apart_is_like_any_other(shape: tuple[int, ...]) -> None:
    for dtype in (np.int8, np.float32):
        array = empty_apart(shape, dtype)
        assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
        assert array.flags.c_contiguous
        assert array.flags.writeable
        array[...] = 3
        assert array.sum() == 3 * array.size


_CODES = """
import numpy as np
from minidistil.weights.codes import coded

def private():
    status = open("/proc/self/status").read()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024

def codes():
    held = []
    for _ in range(24):
        held.append(coded(w, limit_pairs=True)[0])
        kept.append(np.ones(2000))  # behind it
    return held

w, kept = np.ones((1024, 1024), np.float32), []
np.ones(1 << 20)  # the allocator keeps arrays of codes' size from here on
codes()[0]
before = private()
held = codes()
print(private() - before)
del held
print(private() - before)
"""


@needs_proc
def test_codes_that_are_dropped_take_no_memory() -> None:
    """Those of products, which are packed at once, would stay for good: as much again as what is packed."""
    assert coded(np.ones((3, 3), np.float32), limit_pairs=True)[0].dtype == np.int8
    held, dropped = map(float, python(_CODES, cwd=ROOT).split())
    assert held > 22, "megabytes of 24 arrays"
    assert dropped < 4, "megabytes when all are dropped"
