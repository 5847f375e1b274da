"""Packing against its definition in NumPy, over every remainder, and nothing written beside it."""

from __future__ import annotations

import numpy as np
import pytest

from minidistil.kernels import layout
from minidistil.kernels.products import packing
from tests.bits import assert_same_bits
from tests.kernels.values import awkward


@pytest.mark.parametrize("n", [*range(1, 50), 63, 64, 65, 96, 97, 144, 150])
@pytest.mark.parametrize("k", [1, 15, 16, 17, 48, 50])
def test_every_remainder(n: int, k: int) -> None:
    weight = awkward(1, n, k)
    panels = layout.panels(n)
    want, got = (np.full((panels + 1, k, layout.PANEL), 7, np.float32) for _ in range(2))
    layout.pack(weight, want[:panels])
    packing.pack_rows(weight.ctypes.data, n, k, got.ctypes.data)
    assert_same_bits(got, want)
