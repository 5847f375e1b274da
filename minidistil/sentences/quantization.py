"""Embeddings in fewer bits, each number from its own embedding and ranges that are given, never from its company."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidistil._float_mode import default_mode
from minidistil._options import is_one_of

PRECISIONS: dict[str, type[np.generic]] = {
    "float32": np.float32,
    "float16": np.float16,
    "int8": np.int8,
    "uint8": np.uint8,
    "binary": np.int8,
    "ubinary": np.uint8,
}
"""Element type by name. "binary" and "ubinary" hold eight dimensions in a byte."""


@default_mode()
def quantize_embeddings(
    embeddings: Any, precision: str, ranges: Any = None, calibration_embeddings: Any = None
) -> np.ndarray:
    """Write embeddings in fewer bits, as sentence-transformers does; but int8 and uint8 only by ranges that are given.

    sentence-transformers takes missing ranges from the embeddings of the call itself, so that one sentence's int8
    changes with its company. Here they are given, or measured once on embeddings that are named for it.

    Args:
        embeddings: floats [B, D] or [D].
        precision: "float32"; "float16": the nearest one, of two the even; "int8" or "uint8": 256 steps between a
            dimension's least and greatest value, beyond which values are clipped; "binary" or "ubinary": whether a
            dimension is positive, eight to a byte (as int8 from -128, or as uint8), the first in the highest bit,
            zeros after the last.
        ranges: floats [2, D], each dimension's least and greatest value; for int8 and uint8.
        calibration_embeddings: floats [n, D] to measure them on, where no ranges are given.

    Returns:
        float32, float16, int8 or uint8, [B, D] or [D]; [B, ceil(D / 8)] or [ceil(D / 8)] for the binary ones.

    Raises:
        TypeError: embeddings that are no floats.
        ValueError: an unknown precision, ranges that are missing or do not fit, NaN, numbers beyond float16.
    """
    check_precision(precision)
    x = np.asarray(embeddings)
    if x.dtype.kind != "f":
        raise TypeError(f"embeddings to quantize must be floats, got {x.dtype}")
    if x.ndim not in (1, 2):
        raise ValueError(f"embeddings must be [B, D] or [D], got shape {x.shape}")
    x = np.asarray(x, np.float32)
    if precision == "float32":
        return x
    if precision == "float16":
        return _as_float16(x)
    if np.isnan(x).any():
        raise ValueError(f"the embeddings hold NaN, which {precision} cannot say")
    if precision in ("binary", "ubinary"):
        bits = np.packbits(x > 0, axis=-1)
        return bits if precision == "ubinary" else (bits ^ 0x80).view(np.int8)
    if ranges is None and calibration_embeddings is not None:
        ranges = calibration_ranges(calibration_embeddings)
    lowest, highest = check_ranges(ranges, precision, x.shape[-1])
    steps = (highest - lowest) / np.float32(255)
    steps[steps == 0] = 1
    levels = np.clip(np.floor((x - lowest) / steps), 0, 255).astype(np.uint8)
    return levels if precision == "uint8" else (levels ^ 0x80).view(np.int8)


@default_mode()
def calibration_ranges(embeddings: Any) -> np.ndarray:
    """Each dimension's least and greatest value: float32 [2, D], for `quantize_embeddings`.

    Args:
        embeddings: floats [n, D]; a few thousand of the kind that will be quantized.

    Raises:
        ValueError: fewer than two embeddings, or values that are not finite.
    """
    x = np.asarray(embeddings, np.float32)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"ranges are measured on two embeddings [n, D] or more, got shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("the calibration embeddings hold values that are not finite")
    return np.stack([x.min(axis=0), x.max(axis=0)])


def check_precision(precision: str) -> None:
    """Refuse a precision that does not exist (ValueError)."""
    if not is_one_of(precision, PRECISIONS):
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")


def check_ranges(ranges: Any, precision: str, width: int) -> np.ndarray:
    """Return ranges as float32 [2, width]; ValueError where they are missing or do not fit."""
    if ranges is None:
        raise ValueError(
            f'precision="{precision}" needs ranges, each dimension\'s least and greatest value: '
            "calibration_ranges(embeddings) measures them on float32 embeddings of your choice. (sentence-transformers "
            "measures them on each call's own embeddings, which makes a sentence's numbers depend on the others.)"
        )
    checked = np.asarray(ranges, np.float32)
    if checked.shape != (2, width):
        raise ValueError(f"ranges must be [2, {width}], least and greatest of each dimension; got {checked.shape}")
    if not np.isfinite(checked).all() or (checked[0] > checked[1]).any():
        raise ValueError("ranges must be finite, the least value of a dimension first and its greatest second")
    return checked


def stored_width(width: int, precision: str) -> int:
    """How many numbers an embedding of `width` dimensions takes in that precision."""
    return -(-width // 8) if precision in ("binary", "ubinary") else width


def _as_float16(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        halves = x.astype(np.float16)
    if (np.isinf(halves) & np.isfinite(x)).any():
        raise ValueError(f"the embeddings reach {np.abs(x[np.isfinite(x)]).max():.6g}, and float16 ends at 65504")
    return halves
