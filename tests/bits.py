"""Comparing floats by their bits, and saying where they part."""

from __future__ import annotations

import hashlib

import numpy as np


def differ(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Where two float32 arrays differ in any bit (so -0 is not 0); a NaN equals a NaN and nothing else."""
    assert got.dtype == want.dtype == np.float32, f"dtypes {got.dtype} and {want.dtype}, expected float32"
    assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
    got, want = np.ascontiguousarray(got), np.ascontiguousarray(want)
    return (got.view(np.uint32) != want.view(np.uint32)) & ~(np.isnan(got) & np.isnan(want))


def assert_same_bits(got: np.ndarray, want: np.ndarray, what: str = "array") -> None:
    """Fail unless every bit is equal, naming the first place that differs and both values there."""
    wrong = differ(got, want)
    if wrong.any():
        raise AssertionError(f"{what}: {first_difference(got, want)}")


def first_difference(got: np.ndarray, want: np.ndarray) -> str:
    """Where two arrays first differ, and how much of them does."""
    got, want = np.atleast_1d(got), np.atleast_1d(want)
    wrong = differ(got, want)
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    a, b = np.asarray(got[at]), np.asarray(want[at])
    return (
        f"{wrong.sum()} of {wrong.size} values differ, the first at {list(at)}: "
        f"got {a} (0x{int(a.view(np.uint32)):08x}), expected {b} (0x{int(b.view(np.uint32)):08x})"
    )


def digest(*arrays: np.ndarray) -> str:
    """128 bits over the bytes of the arrays, as hexadecimal digits; shapes do not enter."""
    h = hashlib.blake2b(digest_size=16)
    for array in arrays:
        h.update(np.ascontiguousarray(array))
    return h.hexdigest()


def canonical(x: np.ndarray) -> np.ndarray:
    """x with one NaN for all: which of them an operation returns differs between CPUs."""
    return np.where(np.isnan(x), np.float32(np.nan), x)
