"""The compiled activations against `exact`: every name, every remainder, every magnitude."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends.reference import exact
from minidistil.backends.reference import tanh as reference_tanh
from minidistil.kernels import layout
from minidistil.kernels.code.compile import kernel
from minidistil.kernels.simd import activations, gelu, tanh
from minidistil.kernels.simd.memory import load, store
from minidistil.kernels.simd.values import copysign, fabs, fma, negative, splat
from minidistil.kernels.steps.activate import Activate
from minidistil.kernels.steps.take import take
from tests.bits import assert_same_bits
from tests.goldens.operations import activation_inputs, tanh_inputs
from tests.kernels.values import normal

each_name = pytest.mark.parametrize("name", layout.ACTIVATIONS)


def run(name: str, x: np.ndarray) -> np.ndarray:
    out = x.copy()
    take(Activate(layout.address(out), out.size, layout.ACTIVATIONS[name]))
    return out


@each_name
def test_every_magnitude(name: str) -> None:
    x = activation_inputs()
    got = run(name, x)
    assert_same_bits(got, exact.activation(name, x), name)
    assert np.isnan(got[np.isnan(x)]).all()
    assert np.isfinite(got).mean() > 0.3


@pytest.mark.slow
def test_gelu_of_every_float() -> None:
    """Its exponential leaves out what adding to 1 does not show: all 2^32 numbers, against the formula in full."""
    step = 1 << 22
    for first in range(0, 1 << 32, step):
        x = np.arange(first, first + step, dtype=np.uint32).view(np.float32)
        want = x.copy()
        _gelu_in_full(want.ctypes.data, step)
        assert_same_bits(run("gelu", x), want, f"from 0x{first:08x}")
    some = np.arange(0, 1 << 32, 1021, dtype=np.uint32).view(np.float32)  # the reference takes a hundred times as long
    assert_same_bits(run("gelu", some), exact.activation("gelu", some))


@kernel
def _gelu_in_full(x, n):
    """GELU of float32 [n] at an address, in place, with `exp16`."""
    one = splat(np.float32(1.0))
    for i in range(0, n, 16):
        v = load(x, i)
        z = v * splat(gelu._SQRT_HALF)
        t = one / fma(splat(gelu._P), fabs(z), one)
        poly = fma(splat(gelu._A5), t, splat(gelu._A4))
        poly = fma(poly, t, splat(gelu._A3))
        poly = fma(poly, t, splat(gelu._A2))
        poly = fma(poly, t, splat(gelu._A1))
        magnitude = fma(negative(gelu.exp16(negative(z * z))) * t, poly, one)
        store(x, i, v * splat(np.float32(0.5)) * (one + copysign(magnitude, z)))


def test_tanh_has_the_coefficients_of_the_reference() -> None:
    """Written down twice, as the kernels share nothing with the reference: a digit may be one that no number shows."""
    np.testing.assert_array_equal(tanh._INTERVALS, reference_tanh._INTERVALS)
    assert_same_bits(run("tanh", tanh_inputs()), exact.activation("tanh", tanh_inputs()))


@each_name
def test_every_length(name: str) -> None:
    for n in range(1, 50):
        x = normal(n, n, scale=3)
        assert_same_bits(run(name, x), exact.activation(name, x), f"{name}, {n} numbers")


@given(st.sampled_from(list(layout.ACTIVATIONS)), st.lists(st.floats(width=32), min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_floats(name: str, values: list[float]) -> None:
    x = np.array(values, np.float32)
    assert_same_bits(run(name, x), exact.activation(name, x), name)


@each_name
@pytest.mark.parametrize("width", [16, 48])
def test_rows_of_a_wider_array(name: str, width: int) -> None:
    """As in a product's block: what stands beyond the width stays."""
    x = normal(1, 3, 64, scale=2)
    want = x.copy()
    want[:, :width] = exact.activation(name, x[:, :width])
    activations.activate_rows(x.ctypes.data, 64, 3, width, layout.ACTIVATIONS[name])
    assert_same_bits(x, want)
