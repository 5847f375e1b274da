"""The safetensors format: 8 bytes of header length, a JSON header, then the tensors without gaps.

Source: https://github.com/huggingface/safetensors#format. The header is not trusted: all of it is checked against
the file before any view of the data is made.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minidistil.weights import limits
from minidistil.weights._storage import DTYPE_BITS, StoredTensor, impossible_shape
from minidistil.weights.errors import CheckpointError, quoted, shape_text
from minidistil.weights.small_files import parse_json

_MAX_HEADER = 100_000_000  # the format's own limit: what claims more is another format
_PREFIX = 8
_CODES = {"float32": "F32", "float16": "F16", "uint16": "BF16", "int8": "I8"}


def read_table(path: Path, mapped: mmap.mmap) -> dict[str, StoredTensor]:
    """Name and place of every tensor of a safetensors file.

    Raises:
        CheckpointError: listing everything in which the header contradicts the format or the file.
    """
    header, data_start = _header(path, mapped)
    faults: list[str] = []
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        faults.append("the header's __metadata__ is not a table of strings")
    table: dict[str, StoredTensor] = {}
    for name, entry in header.items():
        fault = _entry_fault(entry, len(mapped) - data_start)
        if fault:
            faults.append(f"the header lies about {quoted(name)}: {fault}")
        else:
            shape, begin = tuple(entry["shape"]), entry["data_offsets"][0]
            table[name] = StoredTensor(entry["dtype"], shape, data_start + begin, math.prod(shape))
    if not faults:
        faults = _layout_faults(header, len(mapped) - data_start)
    if faults:
        raise CheckpointError(path, faults)
    return table


def write_bits(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a file with tensors of BF16, given as their bits: the safetensors library writes none of NumPy's arrays.

    Args:
        path: of the file.
        arrays: by name, C-contiguous: uint16 for BF16, float32, int8.
        metadata: of the header.
    """
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))  # as the library: each at a multiple of it
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in order:
        array = arrays[name]
        begin, end = end, end + array.nbytes
        entries[name] = {"dtype": _CODES[array.dtype.name], "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _PREFIX)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(_PREFIX, "little") + text)
        for name in order:
            file.write(arrays[name].astype(arrays[name].dtype.newbyteorder("<"), copy=False).data)


def _header(path: Path, mapped: mmap.mmap) -> tuple[dict[str, Any], int]:
    if len(mapped) < _PREFIX:
        raise CheckpointError(path, f"is {len(mapped)} bytes long, too short for a safetensors file: truncated")
    length = int.from_bytes(mapped[:_PREFIX], "little")
    if length > _MAX_HEADER:
        fault = f"is no safetensors file: it claims a header of {length} bytes (the format allows {_MAX_HEADER})"
        raise CheckpointError(path, fault)
    if length > len(mapped) - _PREFIX:
        fault = f"is truncated: a header of {length} bytes is announced, {len(mapped) - _PREFIX} bytes follow"
        raise CheckpointError(path, fault)
    if length > limits.TABLE_BYTES:
        raise CheckpointError(path, f"has a header of {length} bytes; {limits.TABLE_BYTES} are the most accepted")
    try:
        header = parse_json(mapped[_PREFIX : _PREFIX + length])
    except ValueError as error:
        raise CheckpointError(path, f"has a corrupt header: {error}") from None
    if not isinstance(header, dict):
        raise CheckpointError(path, "has a corrupt header: not a JSON object")
    if len(header) > limits.TENSORS:
        raise CheckpointError(path, f"has {len(header)} tensors; {limits.TENSORS} are the most accepted")
    return header, _PREFIX + length


def _entry_fault(entry: Any, available: int) -> str | None:
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        return "dtype, shape and data_offsets are not all there"
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        return f"dtype {quoted(str(dtype))} is unknown"
    if not isinstance(shape, list) or not all(type(n) is int for n in shape) or impossible_shape(tuple(shape)):
        return f"its shape is {quoted(str(shape))}"
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(n) is int for n in offsets):
        return f"data_offsets {quoted(str(offsets))} are not two whole numbers"
    begin, end = offsets
    if not 0 <= begin <= end:
        return f"data_offsets {begin} to {end} are no range"
    if end > available:
        return f"its data end at byte {end}, the file holds {available} (truncated?)"
    bits = math.prod(shape) * DTYPE_BITS[dtype]
    if bits != 8 * (end - begin):
        return f"{dtype} {shape_text(shape)} takes {bits // 8} bytes, data_offsets give it {end - begin}"
    return None


def _layout_faults(header: dict[str, Any], available: int) -> list[str]:
    """The tensors, in the order of their offsets, must follow one another from the first byte to the last."""
    faults, position, previous = [], 0, "the header"
    for name, (begin, end) in sorted(((k, v["data_offsets"]) for k, v in header.items()), key=lambda item: item[1]):
        if begin < position:
            faults.append(f"{quoted(name)} overlaps {quoted(previous)} ({position - begin} bytes)")
        elif begin > position:
            faults.append(f"{begin - position} bytes between {quoted(previous)} and {quoted(name)} belong to no tensor")
        position, previous = max(position, end), name
    if position != available:
        faults.append(f"the tensors end at byte {position} of the data, the file at {available}")
    return faults
