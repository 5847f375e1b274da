"""The inputs of the goldens of single operations: more numbers than a model's forward pass puts through each."""

from __future__ import annotations

import zlib

import numpy as np

from minidistil.weights import ACTIVATIONS

f32 = np.float32
_SMALL = ((16, 26, 12), (4, 191, 33), (16, 193, 64), (20, 200, 17))
_LINEAR = (*_SMALL, (16, 383, 40), (16, 385, 40), (33, 768, 48), (5, 3072, 24))
_TAILS = (*range(1, 18), 26, 37, 100, 127, 129, 255, 257, 511, 4099)
_WIDTHS = (*_TAILS, 128, 136, 256, 312, 384, 512, 768, 1000, 1024, 2056)
_ATTENTION = ((1, 2, 26), (7, 2, 32), (16, 1, 12), (33, 2, 100), (192, 1, 16), (193, 1, 64), (300, 1, 32), (512, 2, 32))


def operations() -> dict[str, tuple[str, tuple]]:
    """Name -> (function of `torch_reference`, its arguments)."""
    every = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32).view(f32)  # floats of every exponent, and NaN
    dense = np.linspace(-15, 15, 2**19, dtype=f32)
    x = np.concatenate([every, dense])
    result: dict[str, tuple[str, tuple]] = {"gelu": ("gelu", (x[: len(x) // 16 * 16],))}
    for name in ACTIVATIONS:
        if name != "gelu":
            result[f"activation {name}"] = "activation", (name, activation_inputs())
    result["tanh"] = "activation", ("tanh", tanh_inputs())
    for m, k, n in _LINEAR:
        name = f"linear {m}x{k}x{n}"
        result[name] = "linear", tuple(_normal(name, i, *shape) for i, shape in enumerate([(m, k), (n, k), (n,)]))
    for width in _WIDTHS:
        name = f"layer_norm {width}"
        rows = f32(3) * _normal(name, 0, 64, width) + _normal(name, 1, 64, 1)
        result[name] = "layer_norm", (rows, _normal(name, 2, width), _normal(name, 3, width), 1e-12)
    for n, heads, d in _ATTENTION:
        for masked in (False, True):
            name = f"attention {n}x{heads}x{d}" + (" masked" if masked else "")
            q, k, v = (f32(3) * _normal(name, i, n, heads, d) for i in range(3))
            bias = None
            if masked:
                bias = f32(3) * _normal(name, 3, heads, n, n)
                bias[np.abs(bias) > 5] = -np.inf
            result[name] = "attention", (q, k, v, bias)
    return result


def activation_inputs() -> np.ndarray:
    """float32 [n], a multiple of 64: every exponent and sign, zeros, infinities, NaN, and densely what models have."""
    every = np.arange(0, 2**32, 40961, dtype=np.uint64).astype(np.uint32).view(f32)
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan], f32)
    x = np.concatenate([special, every, *(np.linspace(-e, e, n, dtype=f32) for e, n in ((15, 2**16), (120, 2**13)))])
    return x[: len(x) // 64 * 64]


def tanh_inputs() -> np.ndarray:
    """float32 [n]: every 67th number between those that are their own tanh and those whose tanh is 1."""
    low, high = np.array([2.0**-13, 9.1], f32).view(np.uint32)
    return np.arange(low, high, 67, dtype=np.uint32).view(f32)


def _normal(name: str, which: int, *shape: int) -> np.ndarray:
    return np.random.default_rng([zlib.crc32(name.encode()), which]).standard_normal(shape, dtype=f32)
