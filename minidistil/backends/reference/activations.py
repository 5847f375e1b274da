"""The activations by their names in config.json, with the bits of PyTorch's CPU kernels, in nothing but NumPy.

The order of operations is that of transformers' `activations.py` or, where that calls one function of PyTorch, of its
vectorised kernel. A tanh by itself is `torch.tanh` (tanh.py); inside another kernel, of mish and gelu_pytorch_tanh, it
is Sleef's (elementary.py). The two differ by one unit in the last place in one number of two hundred.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from minidistil.backends.reference.elementary import expf, fma, horner, log1pf, sleef_tanhf
from minidistil.backends.reference.tanh import tanhf

f32 = np.float32
_SQRT_2_PI = f32(math.sqrt(2 / math.pi))
_CUBIC = f32(0.044715)


@np.errstate(all="ignore")
def activation(name: str, x: np.ndarray) -> np.ndarray:
    """The activation that config.json calls `name`: float32, any shape.

    Raises:
        ValueError: no such activation.
    """
    return named(ACTIVATIONS, name)(x)


def named(table: Mapping[str, Callable[[np.ndarray], np.ndarray]], name: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function of this name, or a ValueError that lists them."""
    if name not in table:
        raise ValueError(f"there is no activation {name!r}; known are {', '.join(table)}")
    return table[name]


@np.errstate(all="ignore")
def gelu(x: np.ndarray) -> np.ndarray:
    """x/2 (1 + erf(x / sqrt 2)), erf by Abramowitz and Stegun 7.1.26: float32, any shape."""
    z = x * f32(math.sqrt(0.5))
    t = f32(1) / fma(f32(0.3275911), np.abs(z), f32(1))
    poly = horner(t, 1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
    erf = fma(-expf(-(z * z)) * t, poly, f32(1))
    return (x * f32(0.5)) * (f32(1) + np.copysign(erf, z))


# The rest in the order of complexity; `activation` ignores floating-point warnings for all of them.


def _linear(x: np.ndarray) -> np.ndarray:
    return x


def _relu(x: np.ndarray) -> np.ndarray:
    return np.where(x < 0, f32(0), x)  # keeps NaN and -0, as PyTorch does


def _relu2(x: np.ndarray) -> np.ndarray:
    return _relu(x) * _relu(x)


def _relu6(x: np.ndarray) -> np.ndarray:
    return _clip(x, 0, 6)


def _leaky_relu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, x * f32(0.01))  # PyTorch's slope where nothing is said


def _hardswish(x: np.ndarray) -> np.ndarray:
    return x * _clip(x + f32(3), 0, 6) / f32(6)


def _gelu_10(x: np.ndarray) -> np.ndarray:
    return _clip(gelu(x), -10, 10)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return f32(1) / (f32(1) + expf(f32(0) - x))


def _silu(x: np.ndarray) -> np.ndarray:
    return x / (f32(1) + expf(-x))


def _quick_gelu(x: np.ndarray) -> np.ndarray:
    return x * _sigmoid(f32(1.702) * x)


def _gelu_new(x: np.ndarray) -> np.ndarray:
    return _half(x, tanhf(_SQRT_2_PI * (x + _CUBIC * (x * x * x))))


def _gelu_pytorch_tanh(x: np.ndarray) -> np.ndarray:
    return _half(x, sleef_tanhf(_SQRT_2_PI * fma(_CUBIC, x * x * x, x)))


def _gelu_fast(x: np.ndarray) -> np.ndarray:
    return _half(x, tanhf((x * f32(0.7978845608)) * (f32(1) + (_CUBIC * x) * x)))


def _mish(x: np.ndarray) -> np.ndarray:
    return x * sleef_tanhf(log1pf(expf(x)))


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu": gelu,
    "gelu_new": _gelu_new,
    "gelu_fast": _gelu_fast,
    "gelu_pytorch_tanh": _gelu_pytorch_tanh,
    "gelu_accurate": _gelu_new,
    "gelu_python_tanh": _gelu_new,
    "quick_gelu": _quick_gelu,
    "gelu_10": _gelu_10,
    "relu": _relu,
    "relu2": _relu2,
    "relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "hardswish": _hardswish,
    "silu": _silu,
    "swish": _silu,
    "tanh": tanhf,
    "mish": _mish,
    "sigmoid": _sigmoid,
    "linear": _linear,
}


def _clip(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.where(x < f32(low), f32(low), np.where(f32(high) < x, f32(high), x))


def _half(x: np.ndarray, tanh: np.ndarray) -> np.ndarray:
    return (f32(0.5) * x) * (f32(1) + tanh)
