"""Bytes of a file as float32 arrays: mapping, element types, conversion, finiteness; memory that goes back."""

from __future__ import annotations

import math
import mmap
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidistil.weights import limits
from minidistil.weights.errors import CheckpointError
from minidistil.weights.small_files import open_regular

# Bits of one element, by the names that the safetensors format gives them.
DTYPE_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8, "C64": 64,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
# Those that can be weights, as NumPy reads them (bfloat16 as raw bits); files are little-endian.
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
READABLE = tuple(_FLOATS)
_OTHERS = {"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?"}

_GIT_LFS = b"version https://git-lfs.github.com/"
_MAX_ELEMENTS = 1 << 48  # far above any file, far below what overflows NumPy's sizes
_AROUND = max(mmap.PAGESIZE, 1 << 16)  # what Linux maps of a file where one page of it is read (fault_around_bytes)


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies in its file.

    Attributes:
        dtype: a key of DTYPE_BITS.
        shape: its dimensions.
        offset: first byte of the storage in the file.
        count: elements of the storage.
        start: first element of the tensor in the storage.
        strides: in elements, or None for C order.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int
    count: int
    start: int = 0
    strides: tuple[int, ...] | None = None


def map_file(path: Path) -> mmap.mmap:
    """Map a file read-only; the map lives as long as the arrays that view it.

    Raises:
        CheckpointError: unreadable, no regular file, empty, or a Git LFS pointer in the place of the file.
    """
    try:
        with open_regular(path) as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise CheckpointError(path, "is empty: the download or copy did not complete") from None
    if mapped[: len(_GIT_LFS)] == _GIT_LFS:
        raise CheckpointError(path, "is a Git LFS pointer, not the file itself: run `git lfs pull` in its repository")
    return mapped


def impossible_shape(shape: tuple[int, ...]) -> bool:
    """Whether no file could hold this shape (even where a dimension of 0 makes its size 0)."""
    return len(shape) > limits.RANK or min(shape, default=0) < 0 or math.prod(max(n, 1) for n in shape) > _MAX_ELEMENTS


def read_float32(mapped: mmap.mmap, tensor: StoredTensor) -> np.ndarray:
    """The tensor as float32, C-contiguous, read-only; a view of the map where it is stored so, and aligned.

    `tensor` must have been checked against the size of the file, its dtype be one of READABLE.
    """
    values = _elements(mapped, tensor, np.dtype(_FLOATS[tensor.dtype]))
    if tensor.dtype == "BF16":  # the upper half of a float32
        bits = np.empty(tensor.shape, np.uint32)
        np.left_shift(values, 16, out=bits, dtype=np.uint32)  # by its type NumPy 1.x would shift in 16 bits
        return _frozen(bits.view(np.float32))
    with np.errstate(over="ignore"):  # a float64 too large becomes an infinity, which the check of the values reports
        return _frozen(np.require(values, np.float32, ["C", "A"]))


def read_bits(mapped: mmap.mmap, tensor: StoredTensor) -> np.ndarray:
    """A tensor of BF16 as the bits that it is stored as: uint16, C-contiguous, read-only; a view where it can be."""
    return _frozen(np.require(_elements(mapped, tensor, np.dtype("<u2")), np.uint16, ["C", "A"]))


def read_stored(mapped: mmap.mmap, tensor: StoredTensor) -> np.ndarray:
    """The tensor in its own element type where NumPy has it, else (bfloat16) as float32; C-contiguous, read-only."""
    if tensor.dtype == "BF16":
        return read_float32(mapped, tensor)
    kind = np.dtype(_OTHERS.get(tensor.dtype) or _FLOATS[tensor.dtype])
    return _frozen(np.require(_elements(mapped, tensor, kind), requirements=["C"]))


def _elements(mapped: mmap.mmap, tensor: StoredTensor, kind: np.dtype[Any]) -> np.ndarray:
    """The tensor as it lies in the map, of any strides, perhaps unaligned."""
    if 0 in tensor.shape:
        return np.empty(tensor.shape, kind)
    values = np.frombuffer(mapped, kind, tensor.count, tensor.offset)[tensor.start :]
    if tensor.strides is None:
        return values[: math.prod(tensor.shape)].reshape(tensor.shape)
    steps = tuple(step * kind.itemsize for step in tensor.strides)
    return np.lib.stride_tricks.as_strided(values, tensor.shape, steps, writeable=False)


def release_pages(array: np.ndarray) -> None:
    """Give back the memory that an array's view of a mapped file holds; the next access reads it from the file again.

    The pages stay in the system's cache of files. Nothing happens for an array that is no view of a map, or of one that
    can be written: what it holds may be nowhere else.
    """
    owner: object = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    if not isinstance(owner, mmap.mmap) or not hasattr(owner, "madvise") or not array.size:
        return
    mapped = np.frombuffer(owner, np.uint8)
    if mapped.flags.writeable:
        return
    # With those before and behind that came along: else a file read block by block leaves some of every block.
    start, first = mapped.ctypes.data, array.ctypes.data // _AROUND * _AROUND
    end = -(-(array.ctypes.data + array.nbytes) // _AROUND) * _AROUND
    first, end = max(first - start, 0), min(end - start, mapped.size)
    owner.madvise(mmap.MADV_DONTNEED, first, end - first)


def empty_apart(shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    """An array in memory of its own, which goes back to the system when the array does.

    An allocator keeps what is freed in sizes that it has seen before (glibc: of up to 32 MB), for later arrays; where
    there are none, a process that has loaded a model holds it for good.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < _AROUND:
        return np.empty(shape, dtype)
    own = {} if sys.platform == "win32" else {"access": mmap.ACCESS_COPY}  # not shared with a child
    return np.frombuffer(mmap.mmap(-1, size, **own), dtype).reshape(shape)


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def count_nonfinite(array: np.ndarray) -> int:
    """How many elements of a C-contiguous float32 array are NaN or infinite; one pass over memory where none is."""
    flat = array.reshape(-1)
    with np.errstate(all="ignore"):
        # A sum of squares is finite only if every element is. Where it is not, it may have merely overflowed.
        # Measured: 35 GB/s on one Zen 4 core; np.isfinite(x).all() with its temporary: 13 GB/s.
        if math.isfinite(float(np.dot(flat, flat))):
            return 0
        return flat.size - int(np.count_nonzero(np.isfinite(flat)))
