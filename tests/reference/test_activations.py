"""Every activation of `exact` and `blas` against its formula in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from minidistil.backends.reference import blas, exact
from minidistil.weights import ACTIVATIONS
from tests.bits import assert_same_bits
from tests.goldens.operations import activation_inputs

f32 = np.float32
X = np.linspace(-30, 30, 200_001, dtype=f32)


def _gelu(x: np.ndarray) -> np.ndarray:
    return x / 2 * np.array([math.erfc(v) for v in -x / math.sqrt(2)])


def _tanh_gelu(x: np.ndarray) -> np.ndarray:
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu": _gelu,
    "gelu_new": _tanh_gelu,
    "gelu_fast": _tanh_gelu,
    "gelu_pytorch_tanh": _tanh_gelu,
    "gelu_accurate": _tanh_gelu,
    "gelu_python_tanh": _tanh_gelu,
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
    "gelu_10": lambda x: np.clip(_gelu(x), -10, 10),
    "relu": lambda x: np.maximum(x, 0),
    "relu2": lambda x: np.maximum(x, 0) ** 2,
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, x / 100),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "silu": lambda x: x * _sigmoid(x),
    "swish": lambda x: x * _sigmoid(x),
    "tanh": np.tanh,
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "sigmoid": _sigmoid,
    "linear": lambda x: x,
}


@pytest.mark.parametrize("ops", [exact, blas], ids=["exact", "blas"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_its_formula(name: str, ops: object) -> None:
    got = ops.activation(name, X)  # type: ignore[attr-defined]
    want = FORMULAS[name](X.astype(np.float64))
    assert got.dtype == f32
    np.testing.assert_allclose(got, want, rtol=5e-7, atol=2e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_what_is_no_number_stays_so_and_zeros_keep_their_sign(name: str) -> None:
    x = np.array([np.nan, 0, -0.0, np.inf], f32)
    for ops in (exact, blas):
        y = ops.activation(name, x)
        assert np.isnan(y[0]), ops.__name__
        assert y[1] == y[2] == (0.5 if name == "sigmoid" else 0), ops.__name__
        assert y[3] == {"relu6": 6, "gelu_10": 10, "tanh": 1, "sigmoid": 1}.get(name, np.inf), ops.__name__


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_any_shape_and_no_company(name: str) -> None:
    x = activation_inputs()[:120]
    whole = exact.activation(name, x)
    assert_same_bits(exact.activation(name, x.reshape(2, 3, 20)).reshape(-1), whole)
    assert_same_bits(np.concatenate([exact.activation(name, x[i : i + 7]) for i in range(0, 120, 7)]), whole)
    assert exact.activation(name, np.zeros((0, 5), f32)).shape == (0, 5)


@pytest.mark.parametrize("ops", [exact, blas], ids=["exact", "blas"])
def test_an_unknown_one_is_refused_with_those_that_are_known(ops: object) -> None:
    with pytest.raises(ValueError, match=r"there is no activation 'gelo'; known are gelu, gelu_new, .*, linear"):
        ops.activation("gelo", X)  # type: ignore[attr-defined]


def test_the_tables_have_the_same_names() -> None:
    from minidistil.backends.reference.activations import ACTIVATIONS as REFERENCE
    from minidistil.kernels import layout

    assert list(layout.ACTIVATIONS) == list(REFERENCE) == list(ACTIVATIONS)
