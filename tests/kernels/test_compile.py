"""How far compiling is, told while it goes on."""

from __future__ import annotations

import numba
import pytest

from minidistil.kernels.code import compile as compiling


def test_each_kernel_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_kernels", [])
    inner = compiling.kernel(lambda x: x + 1)
    other = numba.njit(lambda x: x * 2)  # none of ours
    outer = compiling.kernel(lambda x: inner(x) + inner(float(x)) + other(x))  # `inner` for two types
    compiling.kernel(lambda x: x)  # which nobody calls
    told: list[tuple[int, int]] = []
    with compiling.counted(lambda done, of: told.append((done, of))):
        assert outer(2) == 3 + 3.0 + 4
        assert outer(3) == 4 + 4.0 + 6
    assert told == [(1, 3), (2, 3)]
    outer(1.5)
    assert len(told) == 2  # nobody listens any more
