"""Rounding to bfloat16, over every bit pattern that it could go wrong with."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minidistil.weights.narrow import rounded, widened
from tests.kernels.values import awkward, with_non_finite


def every_kind() -> np.ndarray:
    """float32 [2**16, 16]: every upper half, with lower halves on both sides of a tie, of zero and of the next."""
    low = [
        0,
        1,
        2,
        0x1234,
        0x3FFF,
        0x4000,
        0x7FFE,
        0x7FFF,
        0x8000,
        0x8001,
        0x8002,
        0xBFFF,
        0xC000,
        0xFFFD,
        0xFFFE,
        0xFFFF,
    ]
    return (np.arange(2**16, dtype=np.uint32)[:, None] << 16 | np.array(low, np.uint32)).view(np.float32)


def definition(x: np.ndarray) -> np.ndarray:
    """The nearer of the two bfloat16 beside each number, in exact arithmetic; of two the one whose last bit is 0."""
    bits = x.view(np.uint32).astype(np.int64)
    size = bits & 0x7FFFFFFF
    down, rest = size >> 16, size & 0xFFFF
    up = (rest > 0x8000) | ((rest == 0x8000) & (down & 1 == 1))
    nearest = np.where(size > 0x7F800000, down | 0x40, down + up)
    return (nearest | (bits >> 31) << 15).astype(np.uint16)


def test_every_upper_half() -> None:
    x = every_kind()
    got = rounded(x)
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, definition(x))
    np.testing.assert_array_equal(np.isnan(widened(got)), np.isnan(x))
    largest = np.array([1, -1], np.float32) * np.finfo(np.float32).max
    assert widened(rounded(largest)).tolist() == [np.inf, -np.inf]


def test_as_torch_rounds() -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch: install the extra `parity`")
    x = every_kind()
    x = x[~np.isnan(x)]  # of NaN torch keeps one only
    want = torch.from_numpy(x).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(rounded(x), want)


@pytest.mark.parametrize("bits", [0x7F800001, 0xFF800001, 0x7F80FFFF, 0xFF80FFFF, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_nan_by_itself(bits: int) -> None:
    x = np.array([1, bits, 0x3F808000], np.uint32).view(np.float32)
    np.testing.assert_array_equal(rounded(x), definition(x))
    assert np.isnan(widened(rounded(x))).tolist() == [False, True, False]


def test_what_is_bfloat16_stays() -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    numbers = bits[~np.isnan(widened(bits))]
    np.testing.assert_array_equal(rounded(widened(numbers)), numbers)


@pytest.mark.parametrize("size", [0, 1, 2**14 - 1, 2**14, 2**14 + 1, 3 * 2**14 + 5])
def test_every_size_and_layout(size: int) -> None:
    x = with_non_finite(awkward(1, size), 2)
    np.testing.assert_array_equal(rounded(x), definition(x))
    pairs = np.stack([x, x[::-1]], axis=1)
    for some, reverse in itertools.product((pairs, pairs.T, pairs[::2, :1]), (False, True)):
        some = some[::-1] if reverse else some
        got = rounded(some)
        assert got.shape == some.shape
        np.testing.assert_array_equal(got, definition(np.ascontiguousarray(some)))
