"""Each exact operation against PyTorch's, bit for bit, on shapes and numbers that hypothesis draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends.engine.operations import Operations
from minidistil.backends.reference import exact
from minidistil.weights import ACTIVATIONS
from minidistil.weights.model_weights import Linear, Norm
from tests.bits import assert_same_bits, differ

pytestmark = pytest.mark.parity
f32 = np.float32
OF_TANH = ("tanh", "gelu_new", "gelu_fast", "gelu_accurate", "gelu_python_tanh")
seeds = st.integers(0, 2**32 - 1)


def normal(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=f32) * f32(scale)


terms = st.one_of(st.integers(1, 900), st.sampled_from([26, 312, 384, 768, 1024, 1200, 1536, 3072, 4096]))


@settings(max_examples=80, deadline=None)
@given(st.integers(4, 100), terms, st.one_of(st.integers(16, 100), st.sampled_from([312, 384, 768])), seeds)
def test_linear(torch_reference: Any, m: int, k: int, n: int, seed: int) -> None:
    x, w, b = normal(seed, m, k), normal(seed + 1, n, k), normal(seed + 2, n)
    assert_same_bits(exact.linear(x, Linear(w, b)), torch_reference.linear(x, w, b), f"[{m}, {k}] x [{n}, {k}]^T")


@pytest.mark.parametrize("scale", [1e-19, 1e-22, 3e18])
def test_linear_at_the_ends_of_the_range(torch_reference: Any, scale: float) -> None:
    """Products in the subnormal range, and sums that overflow: nothing is flushed to zero."""
    x, w = normal(0, 16, 768, scale=scale), normal(1, 32, 768, scale=scale)
    b = normal(2, 32, scale=scale * scale)
    want = torch_reference.linear(x, w, b)
    assert (np.abs(want[want != 0]) < 2.0**-126).any() or not np.isfinite(want).all()
    assert_same_bits(exact.linear(x, Linear(w, b)), want)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40), st.one_of(st.integers(1, 300), st.integers(300, 5000)), st.sampled_from([1e-12, 1e-5]), seeds
)
def test_layer_norm(torch_reference: Any, m: int, width: int, eps: float, seed: int) -> None:
    """Any width: the elements beyond the last whole vector of 8 are taken first, one by one."""
    x = normal(seed, m, width, scale=3) + normal(seed + 3, m, 1)
    w, b = normal(seed + 1, width), normal(seed + 2, width)
    assert_same_bits(exact.layer_norm(x, Norm(w, b, eps)), torch_reference.layer_norm(x, w, b, eps), f"width {width}")


def test_layer_norm_of_nan_infinity_and_constants(torch_reference: Any) -> None:
    x = normal(0, 8, 100)
    x[1, 3], x[2, 99], x[3, 5], x[4] = np.nan, np.nan, np.inf, f32(7)
    x[5] *= f32(1e30)
    x[6] *= f32(1e-30)
    w, b = normal(1, 100), normal(2, 100)
    assert_same_bits(exact.layer_norm(x, Norm(w, b, 1e-12)), torch_reference.layer_norm(x, w, b, 1e-12))


def test_gelu(torch_reference: Any) -> None:
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3e38, -3e38, 14.4, -14.4, -13.5], f32)
    every = np.arange(0, 2**32, 2003, dtype=np.uint64).astype(np.uint32).view(f32)  # floats of every exponent
    dense = np.linspace(-15, 15, 2**20, dtype=f32)
    x = np.concatenate([special, every, dense])
    x = x[: len(x) // 16 * 16]  # PyTorch takes what is beyond whole vectors through libm
    assert_same_bits(exact.gelu(x), torch_reference.gelu(x))


@pytest.mark.parametrize("name", ACTIVATIONS)
@settings(max_examples=4, deadline=None)
@given(st.sampled_from([0.01, 1, 4, 30]), seeds)
def test_activation(request: pytest.FixtureRequest, torch_reference: Any, name: str, scale: float, seed: int) -> None:
    if name in OF_TANH:
        request.getfixturevalue("torch_tanh")
    x = normal(seed, 64, 512, scale=scale)
    assert_same_bits(exact.activation(name, x), torch_reference.activation(name, x), name)


@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_tanh_of_any_number_of_numbers(torch_tanh: Any, values: list[float]) -> None:
    """Unlike the others it is the same function beyond an array's last whole vector."""
    x = np.array(values, f32)
    assert_same_bits(exact.activation("tanh", x), torch_tanh.activation("tanh", x))


@pytest.mark.slow
def test_tanh_of_every_float(torch_tanh: Any) -> None:
    """From 2^-14 to 16; below it is x, and above 1. The engine's, which has every bit of `exact`'s and is quicker."""
    operations = Operations()
    low, high = (int(x) for x in np.array([2.0**-14, 16], f32).view(np.uint32))
    for start in range(low, high, 2**23):
        x = np.arange(start, start + 2**23, dtype=np.uint32).view(f32)
        for signed in (x, -x):
            assert_same_bits(operations.activation("tanh", signed), torch_tanh.activation("tanh", signed))
    others = np.arange(0, 2**32, 401, dtype=np.uint64).astype(np.uint32).view(f32)
    assert_same_bits(operations.activation("tanh", others), torch_tanh.activation("tanh", others))


heads = st.sampled_from([(1, 16), (4, 32), (2, 26), (2, 64), (1, 100), (1, 128), (1, 200)])
lengths = st.one_of(st.integers(1, 70), st.sampled_from([100, 176, 177, 191, 192, 193, 300, 368, 369, 384, 385, 512]))


@settings(max_examples=60, deadline=None)
@given(lengths, heads, st.sampled_from([None, "float", "bool", "lowest"]), st.booleans(), seeds)
def test_attention(
    torch_reference: Any, n: int, shape: tuple[int, int], mask: str | None, per_head: bool, seed: int
) -> None:
    """Without a mask and with each kind of 4-D mask, rows without any key included."""
    q, k, v = (normal(seed + i, n, *shape, scale=2) for i in range(3))
    bias = None
    if mask is not None:
        generator = np.random.default_rng(seed)
        drop = generator.random((shape[0] if per_head else 1, n, n)) < 0.3
        drop[0, n // 2] = True
        kept = normal(seed + 3, *drop.shape, scale=3) if mask == "float" else f32(0)
        bias = np.where(drop, np.finfo(f32).min if mask == "lowest" else f32(-np.inf), kept).astype(f32)
    got, _ = exact.attention(q, k, v, bias)
    assert_same_bits(got, torch_reference.attention(q, k, v, bias), f"{n} keys, heads {shape}, mask {mask}")


def test_attention_flushes_small_probabilities(torch_reference: Any) -> None:
    """Scores from -86.99 below the greatest get 0, not e^x: with v the identity the probabilities show."""
    q, k = np.zeros((16, 1, 16), f32), np.zeros((16, 1, 16), f32)
    q[:, 0, 0] = 4  # the scale is 1/4
    k[1:, 0, 0] = -np.linspace(86.5, 87.6, 15, dtype=f32)
    v = np.eye(16, dtype=f32)[:, None]
    want = torch_reference.attention(q, k, v, None)
    assert (want[0, 0, :8] > 0).all()
    assert (want[0, 0, 8:] == 0).all()
    assert_same_bits(exact.attention(q, k, v)[0], want)


@pytest.mark.parametrize(("m", "k", "n"), [(1, 768, 768), (3, 768, 768), (16, 768, 2), (16, 768, 8)])
def test_where_the_reference_leaves_the_rule(torch_reference: Any, m: int, k: int, n: int) -> None:
    """Few rows or few columns: PyTorch takes other kernels. Should it stop doing so, this says it."""
    x, w, b = normal(0, m, k), normal(1, n, k), normal(2, n)
    got, want = exact.linear(x, Linear(w, b)), torch_reference.linear(x, w, b)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    assert differ(got, want).any()
