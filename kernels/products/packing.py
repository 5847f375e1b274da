"""Packing matrices for products (layout.pack), sixteen by sixteen elements at a time, transposed in registers."""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.layout import PANEL
from minidistil.kernels.products.gemm import chain_length
from minidistil.kernels.products.tile import SLIVER
from minidistil.kernels.simd.memory import get_f32, get_i32, load, load_first, pointer, set_f32, set_i32
from minidistil.kernels.simd.values import F32x16, first_lanes

_PIECE = math.gcd(SLIVER, 16)  # so many of sixteen columns lie side by side, whatever the first of them

_I32, _I64 = ir.IntType(32), ir.IntType(64)


@kernel
def pack_rows(x, ld, n, k, out, columns):
    """x float32 [n, k], rows `ld` apart, into the first n columns of a packed B [k, columns], both by address.

    Columns beyond n become zero; `columns` is a multiple of sixteen. See `layout.pack`, where they are PANEL.
    """
    block, end = chain_length(k), (n + 15) // 16 * 16
    for start in range(0, k, block):
        part, length = out + start * columns * 4, min(block, k - start)
        whole = length - length % 16
        for j in range(0, n, 16):
            row, count = x + (j * ld + start) * 4, n - j
            for i in range(0, whole, 16):
                _transpose16_into_block(row + i * 4, ld * 4, count, part, length, columns, i, j)
            for i in range(whole, length):
                for c in range(16):
                    value = get_f32(row, c * ld + i) if c < count else np.float32(0.0)
                    set_f32(part, place(i, j + c, length, columns), value)
        for i in range(length if end < columns else 0):
            for c in range(end, columns):
                set_f32(part, place(i, c, length, columns), np.float32(0.0))


@kernel
def pack_bfloat16(x, n, k, out):
    """x uint16 [n, k], contiguous, into a panel uint16 [k, PANEL], both by address; see `layout.pack`.

    Two k lie side by side in x and in the panel, and move as one word of four bytes.
    """
    block = chain_length(k)
    for start in range(0, k, block):
        height = min(block, k - start) // 2
        for j in range(0, PANEL, 16):
            row, count = x + (j * k + start) * 2, n - j
            whole = height - height % 16 if count > 0 else 0
            for i in range(0, whole, 16):
                _transpose16_into_block(row + i * 4, k * 2, count, out, height, PANEL, i, j)
            for i in range(whole, height):
                for c in range(16):
                    word = get_i32(row, c * (k // 2) + i) if c < count else np.int32(0)
                    set_i32(out, place(i, j + c, height, PANEL), word)
        out += height * PANEL * 4


@kernel
def place(k, j, length, columns):
    """Position of element (k, j) in a block of `length` k and so many columns, in elements of four bytes."""
    sliver = j // SLIVER * SLIVER
    return sliver * length + k * min(SLIVER, columns - sliver) + j - sliver


@kernel
def pack_columns(x, ld, n, k, out, first, of):
    """x float32 [n, k], rows `ld` apart, as rows `first` to `first + n` of a panel B [of, PANEL], both by address.

    B's rows are positions of the sum (see `layout.pack`, which has them as columns). Columns beyond k become zero; of
    more than PANEL only so many are taken.
    """
    block, end = chain_length(of), first + n
    while first < end:
        start = first // block * block
        part, length = out + start * PANEL * 4, min(block, of - start)
        for i in range(first - start, min(length, end - start)):
            for j in range(0, PANEL, 16):
                row = load(x, j) if k >= PANEL else load_first(x, j, first_lanes(k - j))
                store_packed(part, length, PANEL, i, j, row)
            x += ld * 4
        first = start + length


@kernel
def transpose(x, ld, n, k, out, ld_out):
    """out = x^T: float32 [n, k], rows `ld` apart, to [k, n], rows `ld_out` apart, both by address.

    The rows of `out` have room for n rounded up to a multiple of sixteen: what lies there is overwritten.
    """
    whole = k - k % 16
    for i in range(0, n, 16):
        for j in range(0, whole, 16):
            _transpose16(x + (i * ld + j) * 4, ld * 4, n - i, out + (j * ld_out + i) * 4, ld_out)
        for r in range(i, min(i + 16, n)):
            for j in range(whole, k):
                set_f32(out, j * ld_out + r, get_f32(x, r * ld + j))


@intrinsic
def _transpose16(typing_context, source, apart, count, target, ld_target):
    """Target float32 [16, 16] from source [16, 16], transposed, by their addresses; the others as below."""

    def emit(context, builder, sig, args):
        source, apart, count, target, ld_target = args
        for i, row in enumerate(_transposed(builder, source, apart, count)):
            place = pointer(builder, target, builder.mul(ld_target, _int(i)), row.type)
            builder.store(row, place).align = 4
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), emit


@intrinsic
def _transpose16_into_block(typing_context, source, apart, count, block, length, columns, k, j):
    """Elements (k to k + 15, j to j + 15) of a block (see `place`) from source float32 [16, 16], transposed.

    Source and block are addresses, rows of the source `apart` bytes apart. Only `count` of them are there (1 to 16, or
    more); the others are zeros. What moves is bits: of four bytes, whatever they mean.
    """

    def emit(context, builder, sig, args):
        source, apart, count, block, length, columns, k, j = args
        for i, row in enumerate(_transposed(builder, source, apart, count)):
            _store_across(builder, row, block, length, columns, builder.add(k, _int(i)), j)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 8), emit


@intrinsic
def store_packed(typing_context, block, length, columns, k, j, value):
    """Elements (k, j to j + 15) of a block (see `place`), by its address, become the sixteen lanes of a value."""

    def emit(context, builder, sig, args):
        *place, value = args
        _store_across(builder, value, *place)
        return context.get_dummy_value()

    if value == F32x16:
        return types.void(*[types.intp] * 5, value), emit
    return None


def _transposed(builder, source, apart, count):
    """The columns of float32 [16, 16] at an address, of which `count` rows are there."""
    last, zeros = builder.sub(count, _int(1)), ir.Constant(F32x16.llvm, [0.0] * 16)
    rows = []
    for i in range(16):
        there = builder.icmp_signed("<=", _int(i), last)
        start = builder.add(source, builder.mul(apart, builder.select(there, _int(i), last)))
        row = builder.load(builder.inttoptr(start, F32x16.llvm.as_pointer()))
        row.align = 4
        rows.append(builder.select(there, row, zeros))
    # Swap the off-diagonal halves of blocks of 2, 4, 8 and 16.
    for step in (1, 2, 4, 8):
        upper = [i if not i & step else 16 + i - step for i in range(16)]
        lower = [i + step if not i & step else 16 + i for i in range(16)]
        for i in range(16):
            if not i & step:
                a, b = rows[i], rows[i + step]
                masks = (ir.Constant(ir.VectorType(_I32, 16), pick) for pick in (upper, lower))
                rows[i], rows[i + step] = (builder.shuffle_vector(a, b, mask) for mask in masks)
    return rows


def _store_across(builder, row, block, length, columns, k, j):
    """Sixteen lanes into row k of a block, from column j on; they may lie in several slivers."""
    for first in range(0, 16, _PIECE):
        column = builder.add(j, _int(first))
        sliver = builder.sub(column, builder.urem(column, _int(SLIVER)))
        left = builder.sub(columns, sliver)
        width = builder.select(builder.icmp_signed("<", left, _int(SLIVER)), left, _int(SLIVER))
        place = builder.add(builder.mul(sliver, length), builder.sub(column, sliver))
        lanes = ir.Constant(ir.VectorType(_I32, _PIECE), list(range(first, first + _PIECE)))
        at = builder.add(place, builder.mul(k, width))
        piece = row if _PIECE == 16 else builder.shuffle_vector(row, row, lanes)
        builder.store(piece, pointer(builder, block, at, piece.type)).align = 4


def _int(value: int) -> ir.Constant:
    return ir.Constant(_I64, value)
