"""Which backends the tests of the interface run over, and what may be asked of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidistil.backends.reference import blas
from tests.bits import assert_same_bits

QUICK = [pytest.param("blas"), pytest.param("engine")]
INVARIANT = [pytest.param("engine"), pytest.param("exact")]  # BLAS decides by the number of rows, so not `blas`


def assert_as_promised(model: Any, got: np.ndarray, want: np.ndarray) -> None:
    """Two results of one model that should be the same: in every bit, but of `blas` to float tolerance."""
    if getattr(model._backend, "ops", None) is blas:
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)
    else:
        assert_same_bits(got, want)
