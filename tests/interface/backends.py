"""Which backends the tests of the interface run over."""

from __future__ import annotations

import pytest

QUICK = [pytest.param("blas"), pytest.param("engine")]
INVARIANT = [pytest.param("engine"), pytest.param("exact")]  # BLAS decides by the number of rows, so not `blas`
