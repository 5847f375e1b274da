"""What no test may lean on: the bits of somebody else's matrix products.

The sums of a BLAS go in an order that depends on its kernels for the CPU, on its threads and on how many rows travel
together, so that `backend="blas"` promises float tolerance and nothing more. A test that compares its results by their
bits passes on the machine where it was written. Here every product differs from the last one, on every machine.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minidistil.backends.reference import blas

_ULP = np.float32(2.0**-23)


def make_unsteady(patch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let every product of `blas` come out as from another order of sums.

    Returns:
        What begins the sequence of a test anew, by its name: it finds the same orders alone and among others.
    """
    rng = np.random.default_rng(0)

    def begin(test: str) -> None:
        nonlocal rng
        rng = np.random.default_rng(zlib.crc32(test.encode()))

    def shaken(x: np.ndarray) -> np.ndarray:
        """Every number moved by up to four units in its last place; zeros, infinities and NaN stay what they are."""
        with np.errstate(all="ignore"):
            return x * (np.float32(1) + _ULP * rng.integers(-4, 5, x.shape, np.int8).astype(np.float32))

    def on_shaken(function: Callable[..., Any], operands: int) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            return function(*map(shaken, arguments[:operands]), *arguments[operands:])

        return call

    for name, operands in {"linear": 1, "product": 1, "narrow": 1, "attention": 3}.items():
        patch.setattr(blas, name, on_shaken(getattr(blas, name), operands))
    return begin
