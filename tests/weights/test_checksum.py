"""The checksum of packed weights: what happens to files changes it."""

from __future__ import annotations

import numpy as np
import pytest

from minidistil.weights.checksum import checksum

MIB = 1 << 20
RNG = np.random.default_rng(11)
DATA = RNG.bytes(2 * MIB + 4096 * 3 + 100)  # whole pieces, whole pages, a part of a page
WANT = checksum(DATA)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_same_of_any_buffer(kind: type) -> None:
    assert checksum(kind(DATA)) == WANT
    assert len(WANT) == 32


def test_a_bit_is_enough() -> None:
    data = bytearray(DATA)
    places = [0, 1, MIB - 1, MIB, 2 * MIB - 1, 2 * MIB, len(data) - 1, *RNG.integers(0, len(data), 60)]
    for place in places:
        bit = 1 << int(RNG.integers(8))
        data[place] ^= bit
        assert checksum(data) != WANT, f"a flip in byte {place}"
        data[place] ^= bit
    assert checksum(data) == WANT


@pytest.mark.parametrize("size", [0, 1, 7, 8, 4095, 4096, MIB - 1, MIB, MIB + 1])
def test_every_length(size: int) -> None:
    """Cut short, made longer, and with zeros at the end."""
    sums = {checksum(DATA[:size]), checksum(DATA[: size + 1]), checksum(DATA[:size] + b"\0"), checksum(bytes(size + 9))}
    assert len(sums) == 4 or DATA[size] == 0


def page(data: bytes, number: int) -> bytes:
    return data[number * 4096 :][:4096]


@pytest.mark.parametrize(("one", "other"), [(0, 1), (3, 200), (255, 256), (10, 300)], ids=str)
def test_pages_that_changed_places(one: int, other: int) -> None:
    """Within a piece of which only sums are taken, and between pieces."""
    data = bytearray(DATA)
    data[one * 4096 : one * 4096 + 4096] = page(DATA, other)
    data[other * 4096 : other * 4096 + 4096] = page(DATA, one)
    assert checksum(data) != WANT


def test_lost_and_stale_pages() -> None:
    for number in (0, 77, 256, 511, 513):
        for wrong in (bytes(4096), page(DATA, number - 1 if number else 1)):
            data = bytearray(DATA)
            data[number * 4096 : number * 4096 + 4096] = wrong
            assert checksum(data) != WANT


def test_pieces_that_changed_places() -> None:
    assert checksum(DATA[MIB : 2 * MIB] + DATA[:MIB] + DATA[2 * MIB :]) != WANT


def test_it_stays_what_files_hold() -> None:
    """Files of this layout were written with it: another sum is another layout."""
    assert checksum(np.arange(300_000, dtype="<u4").tobytes()) == "16e4cca9295f6f9a6b16c35018da1190"
