"""A row of logits, or of hidden states: what its losses follow from, and their gradient.

The orders and roundings are those of `minidistil.backends.reference.learning.losses`. Sums along a row take sixteen
lanes: element j goes into lane j mod 16, and the lanes are added as a tree.
"""

from __future__ import annotations

import numpy as np

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.simd.gelu import exp16
from minidistil.kernels.simd.memory import get_f32, get_i32, load, load_first, store, store_first
from minidistil.kernels.simd.values import (
    first_lanes,
    fma,
    from_bits,
    numbered_from,
    splat,
    splat_bits,
    sqrt_scalar,
    tree_sum,
    where,
)

f32 = np.float32
_MINUS_INFINITY = f32(-np.inf)
_SHORTEST = f32(1e-8)


@kernel
def greatest(z, n, scratch):
    """The greatest of float32 [n] at an address, and the first position that has it; NaN is passed over.

    A zero comes out positive. The position is 0 where nothing is greater than minus infinity. scratch: address of 32
    elements.
    """
    top, at = splat(_MINUS_INFINITY), splat_bits(np.int32(0))
    for j in range(0, n, 16):
        x = where(first_lanes(n - j), _load(z, j, n), splat(_MINUS_INFINITY))
        better = top < x
        top, at = where(better, x, top), where(better, numbered_from(j), at)
    store(scratch, 0, top)
    store(scratch, 16, from_bits(at))
    best, position = get_f32(scratch, 0), get_i32(scratch, 16)
    for i in range(1, 16):
        other, place = get_f32(scratch, i), get_i32(scratch, 16 + i)
        if other > best or (other == best and place < position):
            best, position = other, place
    return best + f32(0.0), position


@kernel
def sum_of_exponentials(z, top, per_degree, n):
    """The sum of e^((z - top) per_degree)."""
    total = splat(f32(0.0))
    for j in range(0, n, 16):
        e = exp16((_load(z, j, n) - splat(top)) * splat(per_degree))
        total = total + where(first_lanes(n - j), e, splat(f32(0.0)))
    return tree_sum(total)


@kernel
def weighted_differences(teacher, teacher_top, z, top, per_degree, n):
    """The sum of e^dt (dt - d), d = (z - top) per_degree, dt the teacher's; terms with e^dt = 0 are zero."""
    zero, total = splat(f32(0.0)), splat(f32(0.0))
    for j in range(0, n, 16):
        d_teacher = (_load(teacher, j, n) - splat(teacher_top)) * splat(per_degree)
        d = (_load(z, j, n) - splat(top)) * splat(per_degree)
        e = where(first_lanes(n - j), exp16(d_teacher), zero)
        total = fma(e, where(zero < e, d_teacher - d, zero), total)
    return tree_sum(total)


@kernel
def hard_gradient(z, top, total, label, hard, out, n):
    """out = hard (e^(z - top) / total - onehot(label)), float32 [n]; out may be z."""
    one, zero, reciprocal = splat(f32(1.0)), splat(f32(0.0)), splat(f32(1.0) / total)
    for j in range(0, n, 16):
        p = exp16(_load(z, j, n) - splat(top)) * reciprocal
        p = p - where(numbered_from(j) == splat_bits(label), one, zero)
        _store(out, j, n, p * splat(hard))


@kernel
def both_gradients(z, top, total, label, hard, teacher, teacher_top, per_degree, sums, soft, out, n):
    """`hard_gradient`, and soft (softened - the teacher's softened) fused to it; `sums` of theirs, soft times T."""
    one, zero, reciprocal = splat(f32(1.0)), splat(f32(0.0)), splat(f32(1.0) / total)
    own, others = splat(f32(1.0) / sums[0]), splat(f32(1.0) / sums[1])
    for j in range(0, n, 16):
        d = _load(z, j, n) - splat(top)
        p = exp16(d) * reciprocal
        p = p - where(numbered_from(j) == splat_bits(label), one, zero)
        q = exp16(d * splat(per_degree)) * own
        t = exp16((_load(teacher, j, n) - splat(teacher_top)) * splat(per_degree)) * others
        _store(out, j, n, fma(q - t, splat(soft), p * splat(hard)))


@kernel
def add_cosine(x, teacher, weight, out, n):
    """out += weight d(1 - cos(x, teacher)) / dx, all float32 [n] by address; returns the cosine.

    Where one of the two is shorter than 1e-8 there is no direction: cosine and gradient are zero.
    """
    xx, tt, xt = splat(f32(0.0)), splat(f32(0.0)), splat(f32(0.0))
    for j in range(0, n, 16):
        a, b = _load(x, j, n), _load(teacher, j, n)
        xx, tt, xt = fma(a, a, xx), fma(b, b, tt), fma(a, b, xt)
    length, other = sqrt_scalar(tree_sum(xx)), sqrt_scalar(tree_sum(tt))
    both = length * other
    cosine = tree_sum(xt) / both
    own, others = cosine / (length * length) * weight, weight / both
    if length < _SHORTEST or other < _SHORTEST:
        cosine, own, others = f32(0.0), f32(0.0), f32(0.0)
    for j in range(0, n, 16):
        g = fma(splat(own), _load(x, j, n), _load(out, j, n))
        _store(out, j, n, fma(splat(-others), _load(teacher, j, n), g))
    return cosine


@kernel
def _load(row, j, n):
    """Sixteen elements of a row of n, from j on; zero beyond its end."""
    if n - j >= 16:
        return load(row, j)
    return load_first(row, j, first_lanes(n - j))


@kernel
def _store(row, j, n, x):
    """Write sixteen elements of a row of n, from j on, and nothing beyond its end."""
    if n - j >= 16:
        store(row, j, x)
    else:
        store_first(row, j, first_lanes(n - j), x)
