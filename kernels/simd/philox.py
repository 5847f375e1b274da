"""Random numbers from counters: Philox4x32-10, sixteen counters at a time, and what dropout makes of them.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011. A number depends on nothing but its
counter and the key, so a mask is never stored, and no thread or batch changes it.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.simd.memory import load, load_first, store, store_first
from minidistil.kernels.simd.values import I32x16, M1x16, broadcast, first_lanes, splat, splat_bits, where

f32 = np.float32
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57  # of counter words 0 and 2
_WEYL = 0x9E3779B9, 0xBB67AE85  # what the key's words grow by in a round
_ROUNDS = 10

GROUP = 64
"""Columns that sixteen counters serve: four words each, sixteen columns apart."""

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_WIDE = ir.VectorType(_I64, 8)


@intrinsic
def lane_numbers(typing_context):
    """0 to 15."""
    return I32x16(), lambda context, builder, sig, args: ir.Constant(I32x16.llvm, list(range(16)))


@intrinsic
def _words(typing_context, c0, c1, c2, c3, k0, k1):
    """The four words of each of sixteen counters: two words in lanes and two for all, and the key's two."""

    def emit(context, builder, sig, args):
        c0, c1, *scalars, k0, k1 = args
        c2, c3 = (broadcast(builder, c, 16) for c in scalars)
        for i in range(_ROUNDS):
            keys = (
                broadcast(builder, builder.add(k, ir.Constant(_I32, i * weyl & 0xFFFFFFFF)), 16)
                for k, weyl in zip((k0, k1), _WEYL, strict=True)
            )
            (high0, low0), (high2, low2) = (
                _product(builder, c, by) for c, by in zip((c0, c2), _MULTIPLIERS, strict=True)
            )
            c0, c2 = (
                builder.xor(builder.xor(high, c), key)
                for high, c, key in zip((high2, high0), (c1, c3), keys, strict=True)
            )
            c1, c3 = low2, low0
        return context.make_tuple(builder, sig.return_type, [c0, c1, c2, c3])

    if c0 == c1 == I32x16:
        return types.UniTuple(I32x16, 4)(c0, c1, *[types.int32] * 4), emit
    return None


def _product(builder, x, by):
    """High and low halves of the unsigned products of sixteen int32 and a constant.

    Lanes of even number and of odd number are multiplied by themselves, as CPUs have no wider product of vectors.
    """
    wide, half = builder.bitcast(x, _WIDE), ir.Constant(_WIDE, [32] * 8)
    factor, lower = ir.Constant(_WIDE, [by] * 8), ir.Constant(_WIDE, [0xFFFFFFFF] * 8)
    even = builder.bitcast(builder.mul(builder.and_(wide, lower), factor), I32x16.llvm)
    odd = builder.bitcast(builder.mul(builder.lshr(wide, half), factor), I32x16.llvm)
    picks = ([i // 2 * 2 + first + i % 2 * 16 for i in range(16)] for first in (1, 0))
    return tuple(builder.shuffle_vector(even, odd, ir.Constant(I32x16.llvm, pick)) for pick in picks)


@intrinsic
def _below(typing_context, x, y):
    """x < y in every lane, as unsigned numbers."""
    if x == y == I32x16:
        return M1x16(x, y), lambda context, builder, sig, args: builder.icmp_unsigned("<", *args)
    return None


@kernel
def keep_factors(chance, site, first_word, rows):
    """Four vectors of what elements are multiplied by, 0 where they are dropped.

    Args:
        chance: a `Chance` (steps/training/dropout.py); its site and first row are not read.
        site: of the matrix.
        first_word: int32 lanes, of each a column // 64 * 16 + column % 16: the vectors are for that column's place in
            the first, second, third and fourth sixteen of its 64.
        rows: int32 lanes, numbers of rows in the step.
    """
    words = _words(
        first_word, rows, np.int32(site), np.int32(chance.step), np.int32(chance.key0), np.int32(chance.key1)
    )
    threshold, factor, zero = splat_bits(np.int32(chance.threshold)), splat(chance.factor), splat(f32(0.0))
    return (
        where(_below(words[0], threshold), zero, factor),
        where(_below(words[1], threshold), zero, factor),
        where(_below(words[2], threshold), zero, factor),
        where(_below(words[3], threshold), zero, factor),
    )


@kernel
def drop_row(source, target, n, chance, site, row):
    """target = dropout(source): float32 [n] both, by address, perhaps the same; a row of this number in the step."""
    rows = splat_bits(np.int32(row))
    for j in range(0, n, GROUP):
        keep = keep_factors(chance, site, splat_bits(np.int32(j // 4)) + lane_numbers(), rows)
        _multiply16(source, target, j, n, keep[0])
        _multiply16(source, target, j + 16, n, keep[1])
        _multiply16(source, target, j + 32, n, keep[2])
        _multiply16(source, target, j + 48, n, keep[3])


@kernel
def _multiply16(source, target, j, n, factor):
    if j + 16 <= n:
        store(target, j, load(source, j) * factor)
    elif j < n:
        mask = first_lanes(n - j)
        store_first(target, j, mask, load_first(source, j, mask) * factor)
