"""What torch.save wrote before PyTorch 1.6: pickles one after another, then the storages.

Source: torch/serialization.py (`_legacy_save`, `_legacy_load`) of PyTorch 2.13. The pickles are a number that says what
the file is, the version of the format, a table about the machine that wrote it, the state dict, and the list of its
storages' keys. Each storage is its number of elements, int64, and its bytes. The pickles are interpreted by
_pickle_subset, which executes nothing.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

from minidistil.weights import limits
from minidistil.weights._pickle_subset import PickleError, load_first
from minidistil.weights._storage import DTYPE_BITS
from minidistil.weights.errors import CheckpointError, quoted

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled number
_VERSION = 1001
_COUNT = 8


def read_state(path: Path, mapped: mmap.mmap) -> tuple[Any, dict[str, tuple[int, int]]]:
    """The state dict, and (first byte, size) of every storage by its key.

    Raises:
        PickleError: a pickle is corrupt or refused.
        CheckpointError: listing everything else that is wrong.
    """
    version, place, _ = _pickle(mapped, len(MAGIC))
    if version != _VERSION:
        raise CheckpointError(path, f"is of the version {quoted(repr(version))} of its format; {_VERSION} is read")
    machine, place, _ = _pickle(mapped, place)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise CheckpointError(path, "was written by a machine that is not little-endian, which is not supported")
    state, place, stored = _pickle(mapped, place)
    keys, place, _ = _pickle(mapped, place)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
        raise CheckpointError(path, "has no list of storages, each named once, behind its table of tensors")
    if len(keys) > limits.TENSORS:
        raise CheckpointError(path, f"has {len(keys)} storages; {limits.TENSORS} are the most accepted")
    storages: dict[str, tuple[int, int]] = {}
    for key in keys:
        count = int.from_bytes(mapped[place : place + _COUNT], "little", signed=True)
        record = stored.get(key)
        if record is None or record.count != count:
            said = "nothing" if record is None else f"{record.count} elements"
            raise CheckpointError(path, f"storage {quoted(key)} has {count} elements, its table of tensors says {said}")
        size = count * DTYPE_BITS[record.dtype] // 8
        if place + _COUNT + size > len(mapped):
            raise CheckpointError(path, f"is truncated: storage {quoted(key)} takes {size} bytes, fewer follow")
        storages[key] = place + _COUNT, size
        place += _COUNT + size
    return state, storages


def _pickle(mapped: mmap.mmap, place: int) -> tuple[Any, int, dict[str, Any]]:
    """What stands at a place, the place behind it, and the storages that it names."""
    program = mapped[place : place + limits.TABLE_BYTES]
    try:
        value, size, storages = load_first(program)
    except PickleError as error:
        if place + len(program) == len(mapped):
            raise
        raise PickleError(f"{error}; {limits.TABLE_BYTES} bytes are the most accepted") from None
    return value, place + size, storages
