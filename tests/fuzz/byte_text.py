"""Bytes changed without regard to what they mean."""

from __future__ import annotations

import random

_INTEGERS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
    (1 << 64) - 1,
)


def mutate(content: bytes, rng: random.Random, most: int | None = None) -> tuple[bytes, str]:
    """Change bytes in one place, among the first `most` where that is given; returns them and what was done."""
    data = bytearray(content)
    size = len(data) if most is None else min(most, len(data))
    at = rng.randrange(size + 1)
    length = min(rng.choice((1, 1, 2, 4, 8, 33, 500, 5000)), size)
    change = rng.randrange(10)
    if change < 3 and size:
        bits = rng.choice((1, 1, 1, 2, 8))
        places = [rng.randrange(size * 8) for _ in range(bits)]
        for bit in places:
            data[bit // 8] ^= 1 << bit % 8
        return bytes(data), f"bytes: bits {places} flipped"
    if change == 3:
        return bytes(data[:at]), f"bytes: cut to {at}"
    if change == 4:
        data[at : at + length] = bytes([rng.choice((0, 0, 0xFF, 0x20))]) * length
        return bytes(data), f"bytes: a run of {length} at {at}"
    if change == 5:
        source = rng.randrange(size + 1)
        data[at : at + length] = data[source : source + length]
        return bytes(data), f"bytes: {length} of {source} copied over {at}"
    if change == 6:
        data[at:at] = rng.randbytes(length)
        return bytes(data), f"bytes: {length} put in at {at}"
    if change == 7:
        del data[at : at + length]
        return bytes(data), f"bytes: {length} taken out at {at}"
    if change == 8:
        width, number = rng.choice((1, 2, 4, 8)), rng.choice(_INTEGERS)
        order = rng.choice(("little", "little", "big"))
        data[at : at + width] = (number & ((1 << 8 * width) - 1)).to_bytes(width, order)
        return bytes(data), f"bytes: {width} at {at} say {number}"
    data += rng.choice((b"\0", b"\n", b" ", rng.randbytes(length), bytes(data[:length])))
    return bytes(data), f"bytes: {len(data) - len(content)} added at the end"
