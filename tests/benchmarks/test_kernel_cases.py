"""The kernels' cases do the work that they count."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import kernel_cases, machine

_PRODUCTS = {"q, k, v": (768, 2304), "out_lin": (768, 768), "lin1 + gelu": (768, 3072), "lin2": (3072, 768)}


@pytest.mark.parametrize("kernel", kernel_cases.listing(8))
def test_a_case_runs_and_leaves_a_result(kernel: str) -> None:
    if kernel == "vocab_projector":
        pytest.skip("the same code as the other products, and 94 MB")
    case = kernel_cases.make(kernel, 8)
    case.run()
    assert all(np.isfinite(a).all() for a in case.arrays)
    assert case.bytes > 0
    if kernel in _PRODUCTS:
        k, n = _PRODUCTS[kernel]
        assert case.flops == 2 * 8 * k * n
        out, weight = case.arrays[2:4]
        assert weight.size * 4 * (len(case.arrays) - 3) >= 64 * 2**20  # enough copies that caches do not hold them
        assert np.count_nonzero(out) > 0.4 * 8 * n  # GELU makes zeros of large negative values


def test_few_rows_only_where_few_are_computed() -> None:
    assert "vocab_projector" in kernel_cases.listing(32)
    assert "vocab_projector" not in kernel_cases.listing(128)


def test_the_machine_has_peaks() -> None:
    # Of one core, which others may use too: no lower bound. A loop that the compiler threw away would show thousands.
    assert 0 < machine._fma_rate() < 1000
    assert 0 < machine._read_rate(np.ones(2**20, np.float32)) < 2000
