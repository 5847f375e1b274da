"""pytorch_model.bin without PyTorch: a zip archive of a pickled table and of raw storages, stored uncompressed.

Before PyTorch 1.6 it was a sequence of pickles and storages: _torch_before_1_6.py.

Source: torch/serialization.py (`_save`, `_load`) and caffe2/serialize/inline_container.cc of PyTorch 2.x. The archive
is mapped, never extracted; the table is interpreted by _pickle_subset, which executes nothing. Checksums are not
verified: PyTorch does not either, and can write archives without them.
"""

from __future__ import annotations

import codecs
import io
import math
import mmap
import struct
import zipfile
from pathlib import Path
from typing import Any

from minidistil.weights import limits
from minidistil.weights._pickle_subset import PickleError, TensorRecord, load
from minidistil.weights._storage import DTYPE_BITS, StoredTensor, impossible_shape
from minidistil.weights._torch_before_1_6 import MAGIC, read_state
from minidistil.weights.errors import CheckpointError, listing, quoted, shape_text

codecs.lookup("cp437")  # of names in archives: imported now, as a fork may cut short what is imported later

_TAR = b"ustar"
_CONVERT = (
    "Where PyTorch is installed, rewrite it: "
    "`d = torch.load(path, weights_only=True); safetensors.torch.save_file(d, 'model.safetensors')`"
)
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_MAX_NAME = 255  # of a record; torch's are some twenty bytes long


def read_table(path: Path, mapped: mmap.mmap) -> dict[str, StoredTensor]:
    """Name and place of every tensor of a file written by torch.save(state_dict).

    Raises:
        CheckpointError: listing everything that is corrupt, contradictory or refused.
    """
    try:
        old = mapped[: len(MAGIC)] == MAGIC
        state, storages = read_state(path, mapped) if old else _read_archive(path, mapped)
    except PickleError as error:
        if error.refused:
            raise CheckpointError(
                path,
                f"refused, nothing was executed: loading it would import {listing(error.refused)}. A checkpoint needs "
                "tensors and tables only; take another copy of it, as safetensors if there is one",
            ) from None
        raise CheckpointError(path, f"its table of tensors cannot be read: {error}") from None
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise CheckpointError(path, "holds no table of named tensors (a state dict)")
    if len(state) > limits.TENSORS:
        raise CheckpointError(path, f"has {len(state)} tensors; {limits.TENSORS} are the most accepted")
    faults: list[str] = []
    table: dict[str, StoredTensor] = {}
    for name, value in state.items():
        if not isinstance(value, TensorRecord):
            faults.append(f"{quoted(name)} is {type(value).__name__}, not a tensor: a state dict holds tensors only")
        elif fault := _tensor_fault(value, storages.get(value.storage.key)):
            faults.append(f"the table lies about {quoted(name)}: {fault}")
        else:
            place, storage = storages[value.storage.key][0], value.storage
            # The stride of a dimension of one element says nothing, and nothing bounds it.
            strides = tuple(step if n > 1 else 0 for n, step in zip(value.shape, value.strides, strict=True))
            table[name] = StoredTensor(storage.dtype, value.shape, place, storage.count, value.start, strides)
    if not faults:
        faults = _sharing_faults(table, len(mapped))
    if faults:
        raise CheckpointError(path, faults)
    return table


def _read_archive(path: Path, mapped: mmap.mmap) -> tuple[Any, dict[str, tuple[int, int]]]:
    """The state dict, and (first byte, size) of every storage by its key."""
    records = _records(path, mapped)
    root = _root(path, records)
    _check_byte_order(path, mapped, records, root)
    offset, size = records[f"{root}data.pkl"]
    if size > limits.TABLE_BYTES:
        raise CheckpointError(
            path, f"its table of tensors takes {size} bytes; {limits.TABLE_BYTES} are the most accepted"
        )
    state = load(mapped[offset : offset + size])
    data = f"{root}data/"
    return state, {name[len(data) :]: place for name, place in records.items() if name.startswith(data)}


def _sharing_faults(table: dict[str, StoredTensor], size: int) -> list[str]:
    """Names may share a storage, as tied weights do; but a small file is not to become a large model by it."""
    taken = sum(math.prod(tensor.shape) * DTYPE_BITS[tensor.dtype] // 8 for tensor in table.values())
    if taken <= limits.SHARING * size:
        return []
    return [f"its tensors share storages: they take {taken} bytes, more than {limits.SHARING} times the file's {size}"]


class _Directory(io.RawIOBase):
    """The archive, as zipfile reads it to find its directory: with an end to what it may read."""

    def __init__(self, mapped: mmap.mmap) -> None:
        self._mapped = mapped
        self._place = 0
        self._left = limits.TABLE_BYTES + (1 << 18)  # besides the directory, its end is looked for in the last 64 KiB

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: len(self._mapped)}[whence]
        if place < 0:
            raise ValueError("a place before the file's beginning")
        self._place = place
        return place

    def read(self, size: int = -1) -> bytes:
        rest = max(len(self._mapped) - self._place, 0)
        size = rest if size < 0 else min(size, rest)
        self._left -= size
        if self._left < 0:
            raise ValueError(f"it takes more than {limits.TABLE_BYTES} bytes, which are the most accepted")
        content = self._mapped[self._place : self._place + size]
        self._place += size
        return content


def _records(path: Path, mapped: mmap.mmap) -> dict[str, tuple[int, int]]:
    """Name -> (first byte, size) of every record, its local header checked."""
    if mapped[257:262] == _TAR:
        raise CheckpointError(
            path, f"was written by PyTorch before 0.1.10, as a tar archive: not supported. {_CONVERT}"
        )
    if mapped[:4] != b"PK\x03\x04":
        raise CheckpointError(path, "is no file of torch.save: it does not start as a zip archive")
    try:
        entries = zipfile.ZipFile(_Directory(mapped)).infolist()
    except (zipfile.BadZipFile, struct.error, ValueError, OSError, NotImplementedError, OverflowError) as error:
        raise CheckpointError(path, f"is truncated or corrupt: no zip directory at its end ({error})") from None
    if len(entries) > limits.TENSORS:
        raise CheckpointError(path, f"has {len(entries)} records; {limits.TENSORS} are the most accepted")
    records: dict[str, tuple[int, int]] = {}
    faults = []
    end, before = 0, ""
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        name, start = entry.orig_filename, entry.header_offset
        if len(name) > _MAX_NAME:
            faults.append(f"record {quoted(name)}: a name of {len(name)} characters; {_MAX_NAME} are the most accepted")
            continue
        if name in records:
            faults.append(f"record {quoted(name)} stands twice in the archive")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 0x1:
            faults.append(f"record {quoted(name)} is compressed or encrypted: torch.save never does so. {_CONVERT}")
        elif place := _place(mapped, start, name, entry.file_size):
            records[name] = place
            if start < end:
                faults.append(f"record {quoted(name)} overlaps {quoted(before)}")
            end, before = sum(place), name
        else:
            faults.append(f"record {quoted(name)} does not lie where the directory says (truncated or corrupt)")
    if faults:
        raise CheckpointError(path, faults)
    return records


def _place(mapped: mmap.mmap, start: int, name: str, size: int) -> tuple[int, int] | None:
    if start < 0 or start + _LOCAL_HEADER.size > len(mapped):
        return None
    signature, _, flags, *_, name_length, extra_length = _LOCAL_HEADER.unpack_from(mapped, start)
    name_start = start + _LOCAL_HEADER.size
    stored_name = mapped[name_start : name_start + name_length]
    begin = name_start + name_length + extra_length
    if signature != b"PK\x03\x04" or begin + size > len(mapped) or size < 0:
        return None
    if stored_name != name.encode("utf-8" if flags & 0x800 else "cp437", errors="replace"):
        return None
    return begin, size


def _root(path: Path, records: dict[str, tuple[int, int]]) -> str:
    """The folder that all records of an archive stand in, with its slash."""
    tables = [name for name in records if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(tables) != 1:
        raise CheckpointError(path, f"is no file of torch.save: {len(tables)} records named data.pkl, expected 1")
    root = tables[0][: -len("data.pkl")]
    if f"{root}constants.pkl" in records:
        fault = "is a TorchScript program, not a state dict: save the model's state_dict() instead"
        raise CheckpointError(path, fault)
    return root


def _check_byte_order(path: Path, mapped: mmap.mmap, records: dict[str, tuple[int, int]], root: str) -> None:
    if f"{root}byteorder" in records:
        offset, size = records[f"{root}byteorder"]
        order = mapped[offset : offset + min(size, 32)]
        if order == b"big":
            raise CheckpointError(path, f"is big-endian, which is not supported. {_CONVERT}")
        if order != b"little":
            raise CheckpointError(path, f"its byte order is {quoted(ascii(order))}; expected little")


def _tensor_fault(tensor: TensorRecord, record: tuple[int, int] | None) -> str | None:
    storage, shape = tensor.storage, tensor.shape
    if record is None:
        return f"its storage {quoted(storage.key)} is not in the file"
    expected = storage.count * DTYPE_BITS[storage.dtype] // 8
    if record[1] != expected:
        return f"{storage.count} elements {storage.dtype} take {expected} bytes, its storage has {record[1]}"
    if len(shape) != len(tensor.strides) or impossible_shape(shape) or min((tensor.start, *tensor.strides)) < 0:
        return f"shape {quoted(str(shape))}, strides {quoted(str(tensor.strides))}, offset {quoted(str(tensor.start))}"
    count = math.prod(shape)
    last = tensor.start + sum((n - 1) * step for n, step in zip(shape, tensor.strides, strict=True))
    if count and last >= storage.count:
        return f"its last element would be number {last} of a storage of {storage.count}"
    if count > storage.count:  # expanded views: no weight is one, and they could grow without bound when read
        return f"{shape_text(shape)} over a storage of {storage.count} elements: an expanded view"
    return None
