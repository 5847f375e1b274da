"""The operations of the model in ordinary NumPy: matrix products by its BLAS, everything else by ufuncs.

Equal to `exact` to float tolerance only, and as quick as NumPy is: what runs where the compiled engine cannot.

`T` tokens, `n` tokens of one sentence, `D` width, `H` heads, `d` = D / H; a product is [M, K] x [N, K]^T -> [M, N].
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minidistil.backends.reference import int8
from minidistil.backends.reference.activations import named
from minidistil.backends.reference.exact import embed  # two additions: nothing there to make quicker
from minidistil.weights.model_weights import AnyLinear, Norm
from minidistil.weights.narrow import Int8Linear

__all__ = ["activation", "attention", "embed", "erfc", "gelu", "layer_norm", "linear", "narrow", "product"]

f32 = np.float32

# erfc(z) = t (a1 + a2 t + ... + a5 t^4) e^(-z^2) with t = 1 / (1 + p z), z >= 0: Abramowitz and Stegun, Handbook of
# Mathematical Functions, 7.1.26, absolute error 1.5e-7. tests/reference/test_blas.py measures it in float32.
_ERFC_P = 0.3275911
_ERFC_A = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)  # a5 to a1


@np.errstate(all="ignore")  # infinities and NaN go through, as in PyTorch
def linear(x: np.ndarray, w: AnyLinear) -> np.ndarray:
    """x W^T + b: float32 [M, K] -> [M, N]."""
    if isinstance(w, Int8Linear):
        return int8.linear(x, w)
    y = x @ w.weight.T
    y += w.bias
    return y


@np.errstate(all="ignore")
def product(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x w^T: float32 [M, K], [N, K] -> [M, N]."""
    return x @ w.T


narrow = linear  # BLAS decides by itself what it does with few columns


@np.errstate(all="ignore")
def layer_norm(x: np.ndarray, w: Norm) -> np.ndarray:
    """(x - mean) / sqrt(var + eps) * gamma + beta over the last axis: float32 [M, D] -> [M, D]."""
    y = x - x.mean(axis=1, keepdims=True)
    variance = np.einsum("md,md->m", y, y)[:, None] / f32(x.shape[1])
    y *= f32(1) / np.sqrt(variance + f32(w.eps))
    y *= w.weight
    y += w.bias
    return y


@np.errstate(all="ignore")
def gelu(x: np.ndarray) -> np.ndarray:
    """x/2 (1 + erf(x / sqrt 2)): float32, any shape."""
    z = x * f32(math.sqrt(0.5))
    y = f32(1) - erfc(np.abs(z))
    np.copysign(y, z, out=y)
    y += f32(1)
    y *= x * f32(0.5)
    return y


@np.errstate(all="ignore")
def activation(name: str, x: np.ndarray) -> np.ndarray:
    """The activation that config.json calls `name`: float32, any shape.

    Raises:
        ValueError: no such activation.
    """
    return named(_ACTIVATIONS, name)(x)


@np.errstate(all="ignore")
def attention(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, bias: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """softmax(q k^T / sqrt(d) + bias) v of one sentence.

    Args:
        q, k, v: float32 [n, H, d].
        bias: float32 [1 or H, n, n], added to the scaled scores, or None.

    Returns:
        Context float32 [n, H, d]; probabilities float32 [H, n, n].
    """
    scale = f32(1 / math.sqrt(q.shape[2]))
    p = (q * scale).transpose(1, 0, 2) @ k.transpose(1, 2, 0)  # [H, n, d] x [H, d, n] -> [H, n, n]
    if bias is not None:
        p += bias
    top = p.max(axis=2, keepdims=True)
    p -= np.where(np.isneginf(top), f32(0), top)  # a row whose keys are all masked attends nowhere
    np.exp(p, out=p)
    total = p.sum(axis=2, keepdims=True)
    p /= np.where(total == 0, f32(1), total)
    context = p @ v.transpose(1, 0, 2)  # [H, n, n] x [H, n, d] -> [H, n, d]
    return np.ascontiguousarray(context.transpose(1, 0, 2)), p


@np.errstate(all="ignore")
def erfc(z: np.ndarray) -> np.ndarray:
    """1 - erf(z) for z >= 0: float32, any shape."""
    t = z * f32(_ERFC_P)
    t += f32(1)
    np.divide(f32(1), t, out=t)
    y = np.full_like(t, _ERFC_A[0])
    for a in _ERFC_A[1:]:
        y *= t
        y += f32(a)
    y *= t
    square = z * z
    np.negative(square, out=square)
    y *= np.exp(square, out=square)
    return y


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, f32(0))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return f32(1) / (f32(1) + np.exp(-x))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return f32(0.5) * x * (f32(1) + np.tanh(f32(math.sqrt(2 / math.pi)) * (x + f32(0.044715) * (x * x * x))))


def _silu(x: np.ndarray) -> np.ndarray:
    return x / (f32(1) + np.exp(-x))


_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu": gelu,
    "gelu_new": _gelu_tanh,
    "gelu_fast": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "gelu_accurate": _gelu_tanh,
    "gelu_python_tanh": _gelu_tanh,
    "quick_gelu": lambda x: x * _sigmoid(f32(1.702) * x),
    "gelu_10": lambda x: np.clip(gelu(x), f32(-10), f32(10)),
    "relu": _relu,
    "relu2": lambda x: np.square(_relu(x)),
    "relu6": lambda x: np.clip(x, f32(0), f32(6)),
    "leaky_relu": lambda x: np.where(x > 0, x, x * f32(0.01)),
    "hardswish": lambda x: x * np.clip(x + f32(3), f32(0), f32(6)) / f32(6),
    "silu": _silu,
    "swish": _silu,
    "tanh": np.tanh,
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "sigmoid": _sigmoid,
    "linear": lambda x: x,
}
