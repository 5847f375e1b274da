"""Derivatives of the activations, with every rounding written down.

A derivative is made of the very numbers that the activation is made of (reference/activations.py): its erf, its tanh,
its exponential. NaN gives NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minidistil.backends.reference.activations import named
from minidistil.backends.reference.elementary import expf, fma, horner
from minidistil.backends.reference.tanh import tanhf

f32 = np.float32
_DENSITY = f32(1 / math.sqrt(2 * math.pi))  # the normal distribution's at zero
_SQRT_2_PI, _CUBIC, _CUBIC_3 = f32(math.sqrt(2 / math.pi)), f32(0.044715), f32(3 * 0.044715)
_FAR = f32(87)  # e^-87 is 2^-125.5: from there on the density is taken for zero


@np.errstate(all="ignore")
def activation_backward(name: str, dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """dy f'(x), where f is the activation that config.json calls `name` and x its input: float32, any shape.

    Raises:
        ValueError: no such activation, or none with a derivative here.
    """
    return dy * named(DERIVATIVES, name)(x)


def _gelu(x: np.ndarray) -> np.ndarray:
    """Phi(x) + x phi(x): Phi = (1 + erf(x / sqrt 2)) / 2, phi = e^(-x^2 / 2) / sqrt(2 pi)."""
    z = x * f32(math.sqrt(0.5))
    t = f32(1) / fma(f32(0.3275911), np.abs(z), f32(1))
    poly = horner(t, 1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
    square = z * z
    e = expf(-square)
    erf = np.copysign(fma(-e * t, poly, f32(1)), z)
    below = f32(0.5) * (f32(1) + erf)
    return np.where(square > _FAR, below, fma(x * _DENSITY, e, below))


def _linear(x: np.ndarray) -> np.ndarray:
    return np.ones_like(x)


def _relu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, f32(1), np.where(x <= 0, f32(0), x))


def _tanh(x: np.ndarray) -> np.ndarray:
    t = tanhf(x)
    return fma(-t, t, f32(1))


def _silu(x: np.ndarray) -> np.ndarray:
    s = f32(1) / (f32(1) + expf(-x))
    return s * fma(x, f32(1) - s, f32(1))


def _gelu_new(x: np.ndarray) -> np.ndarray:
    t = tanhf(_SQRT_2_PI * (x + _CUBIC * (x * x * x)))
    flat = fma(-t, t, f32(1))  # the derivative of tanh; where it is 0, x^2 may be infinite
    half = f32(0.5) * (f32(1) + t)
    inner = _SQRT_2_PI * fma(_CUBIC_3, x * x, f32(1))
    return np.where(flat > 0, fma((f32(0.5) * x) * flat, inner, half), half)


DERIVATIVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu": _gelu,
    "gelu_new": _gelu_new,
    "gelu_accurate": _gelu_new,
    "gelu_python_tanh": _gelu_new,
    "relu": _relu,
    "silu": _silu,
    "swish": _silu,
    "tanh": _tanh,
    "linear": _linear,
}
