"""Floating-point modes that a caller may be in, and a way into them: rounding, and what becomes of subnormals."""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

# Where the C library's fenv_t keeps the register, its default, and values of it.
_PLACE, DEFAULT, _MODES = {
    "x86_64": (28, 0x1F80, {"up": 0x5F80, "down": 0x3F80, "toward zero": 0x7F80, "subnormals to zero": 0x9FC0}),
    "aarch64": (0, 0, {"up": 1 << 22, "down": 2 << 22, "toward zero": 3 << 22, "subnormals to zero": 1 << 24}),
}.get(platform.machine(), (0, 0, {}))
if sys.platform != "linux":
    _MODES = {}

MODES = pytest.mark.parametrize("mode", _MODES.values() or [pytest.param(0, marks=pytest.mark.skip)], ids=_MODES.keys())
"""Runs a test in each mode; 'subnormals to zero' is what -ffast-math sets."""

_libm = ctypes.CDLL(ctypes.util.find_library("m") if _MODES else None)


def current() -> int:
    """The calling thread's mode, without the flags that operations raise."""
    return _register(_environment())[0] & ~0x3F


@contextmanager
def entered(mode: int) -> Iterator[None]:
    """The calling thread in a mode; it must still be in it at the end."""
    before = _environment()
    changed = ctypes.create_string_buffer(before.raw)
    _register(changed)[0] = mode
    try:
        _libm.fesetenv(changed)
        assert current() == mode
        yield
        assert current() == mode, "the caller's floating-point mode is another now"
    finally:
        _libm.fesetenv(before)


def _environment() -> ctypes.Array:
    buffer = ctypes.create_string_buffer(128)
    _libm.fegetenv(buffer)
    return buffer


def _register(environment: ctypes.Array) -> ctypes.Array:
    return (ctypes.c_uint32 * 1).from_buffer(environment, _PLACE)
