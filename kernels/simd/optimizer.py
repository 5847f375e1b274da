"""AdamW, and the sum of squares that clipping needs; as `minidistil.backends.reference.learning.optimizer` has them."""

from __future__ import annotations

import numpy as np

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.simd.memory import get_f32, load, load_first, store, store_first
from minidistil.kernels.simd.values import first_lanes, fma, splat, sqrt, tree_sum

f32 = np.float32


@kernel
def sum_of_squares(x, n):
    """Of float32 [n] at an address: element j in lane j mod 16, fused; the lanes as a tree."""
    total = splat(f32(0.0))
    whole = n - n % 16
    for j in range(0, whole, 16):
        value = load(x, j)
        total = fma(value, value, total)
    if whole < n:
        value = load_first(x, whole, first_lanes(n - whole))
        total = fma(value, value, total)
    return tree_sum(total)


@kernel
def step_of_adamw(p, g, m, v, n, numbers):
    """One step for n parameters p with gradients g and moments m and v, by address; gradients become zero.

        g = g clip;  m = fma(g - m, 1 - beta1, m);  v = fma(g g, 1 - beta2, v beta2)
        p = fma(-rate, m / fma(sqrt(v), root, eps), p decay)

    numbers: address of float32 [8]: clip, decay, 1 - beta1, beta2, 1 - beta2, root, eps, -rate.
    """
    whole = n - n % 16
    for j in range(0, whole, 16):
        gradient = load(g, j) * splat(get_f32(numbers, 0))
        first = fma(gradient - load(m, j), splat(get_f32(numbers, 2)), load(m, j))
        second = _second(load(v, j), gradient, numbers)
        store(p, j, _moved(load(p, j), first, second, numbers))
        store(m, j, first)
        store(v, j, second)
        store(g, j, splat(f32(0.0)))
    if whole < n:
        mask = first_lanes(n - whole)
        before = load_first(m, whole, mask)
        gradient = load_first(g, whole, mask) * splat(get_f32(numbers, 0))
        first = fma(gradient - before, splat(get_f32(numbers, 2)), before)
        second = _second(load_first(v, whole, mask), gradient, numbers)
        store_first(p, whole, mask, _moved(load_first(p, whole, mask), first, second, numbers))
        store_first(m, whole, mask, first)
        store_first(v, whole, mask, second)
        store_first(g, whole, mask, splat(f32(0.0)))


@kernel
def _second(v, gradient, numbers):
    return fma(gradient * gradient, splat(get_f32(numbers, 4)), v * splat(get_f32(numbers, 3)))


@kernel
def _moved(p, first, second, numbers):
    size = fma(sqrt(second), splat(get_f32(numbers, 5)), splat(get_f32(numbers, 6)))
    return fma(splat(get_f32(numbers, 7)), first / size, p * splat(get_f32(numbers, 1)))
