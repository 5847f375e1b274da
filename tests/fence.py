"""Memory that ends where a page begins that may not be touched."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

_PAGE = mmap.PAGESIZE


def fenced(array: np.ndarray) -> np.ndarray:
    """A copy of an array, up to the end of its memory: who touches what comes after it ends the process (Linux)."""
    pages = -(-array.nbytes // _PAGE) * _PAGE
    memory = mmap.mmap(-1, pages + _PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(start + pages), _PAGE, 0) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    copy = np.frombuffer(memory, array.dtype, array.size, pages - array.nbytes).reshape(array.shape)
    copy[...] = array
    return copy
