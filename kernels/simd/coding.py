"""Rows of float32 in whole numbers, and rows of tables in fewer bits as float32."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minidistil.kernels import layout
from minidistil.kernels.code.compile import kernel
from minidistil.kernels.layout import CODES, LEVELS, SMALLEST_RANGE
from minidistil.kernels.simd.memory import get_f32, get_i32, load, load_first, set_f32, set_i32, store
from minidistil.kernels.simd.values import (
    F32x16,
    I32x16,
    bits,
    broadcast,
    first_lanes,
    maximum,
    negative,
    splat,
    splat_bits,
    tree_sum,
    where,
)

f32 = np.float32
_I8, _I16, _I32, _F32 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.FloatType()

# Added to a number of at most 2^22 it leaves the nearest whole number, of two the even one, in the low bits.
_ROUNDER = f32(1.5 * 2**23)
_ROUNDER_BITS = np.int32(_ROUNDER.view(np.int32))

beyond_codes = kernel(layout.beyond_codes)


@kernel
def code_row(x, n, smooth, columns, kept_columns, out):
    """Codes of x * smooth, with their scale and zero point, and the columns that are kept: a coded row (layout.CODES).

    Args:
        x: address of float32 [n].
        smooth: address of float32 [n], or 0 for ones.
        columns: address of int32 [kept_columns], each below n.
        out: address of the coded row; written up to the next multiple of four codes, zeros beyond n, and behind them.
    """
    _code(x, n, smooth, out)
    beyond = out + beyond_codes(n) * 4
    for c in range(kept_columns):  # last, as x is in the cache now
        set_f32(beyond, c, get_f32(x, get_i32(columns, c)))


@kernel
def _code(x, n, smooth, out):
    """What `code_row` does, without the columns that are kept."""
    whole, mask = n - n % 16, first_lanes(n % 16)
    none = splat(f32(0.0))
    low, high, size = none, none, none
    for j in range(0, whole, 16):
        y = load(x, j) * load(smooth, j) if smooth != 0 else load(x, j)
        low, high, size = where(y < low, y, low), where(high < y, y, high), larger(size, y)
    if whole < n:
        y = load_first(x, whole, mask)
        if smooth != 0:
            y = y * load_first(smooth, whole, mask)
        low, high, size = where(y < low, y, low), where(high < y, y, high), larger(size, y)
    greatest, least = maximum(high), maximum(negative(low))  # both at least zero
    width = np.float64(greatest) + np.float64(least)
    finite = tree_sum(size * none) == f32(0.0)
    codes = out + CODES
    if not finite or width < SMALLEST_RANGE:
        set_f32(out, 0, f32(1.0) if finite else f32(np.nan))
        set_i32(out, 1, np.int32(0))
        for j in range((n + 3) // 4):
            set_i32(codes, j, np.int32(0))
        return
    steps = splat(f32(LEVELS / width))
    rounder, rounder_bits = splat(_ROUNDER), splat_bits(_ROUNDER_BITS)
    # No code is below zero, as rounding keeps order; and this one is at most LEVELS.
    zero = bits(splat(least) * steps + rounder) - rounder_bits
    start = zero - rounder_bits
    for j in range(0, whole, 16):
        y = load(x, j) * load(smooth, j) if smooth != 0 else load(x, j)
        store_codes(codes, j, bits(y * steps + rounder) + start)
    if whole < n:
        y = load_first(x, whole, mask)
        if smooth != 0:
            y = y * load_first(smooth, whole, mask)
        store_first_codes(codes, whole, n - whole, bits(y * steps + rounder) + start)
    set_f32(out, 0, f32(width / LEVELS))
    set_i32(out, 1, first_lane(zero))


@kernel
def decode_row(table, scale, row, n, out):
    """float32 [n] of a row of a table, all by address; zeros where `row` is below 0.

    Args:
        table: int8 [V, n], whose numbers are multiplied by float32 [V] at `scale`; or uint16 [V, n] of bfloat16, where
            `scale` is 0.
    """
    whole, none = n - n % 16, splat(f32(0.0))
    if row < 0:
        for j in range(0, whole, 16):
            store(out, j, none)
        for j in range(whole, n):
            set_f32(out, j, f32(0.0))
    elif scale != 0:
        own, numbers = get_f32(scale, row), table + row * n
        for j in range(0, whole, 16):
            store(out, j, load_i8(numbers, j) * splat(own))
        for j in range(whole, n):
            set_f32(out, j, get_i8(numbers, j) * own)
    else:
        numbers = table + row * n * 2
        for j in range(0, whole, 16):
            store(out, j, load_bf16(numbers, j))
        for j in range(whole, n):
            set_f32(out, j, get_bf16(numbers, j))


# Memory of fewer bits -------------------------------------------------------------------------------------------------


def _at(builder, address, position, element, count):
    """LLVM pointer to `count` elements, `position` elements after an address."""
    place = builder.gep(builder.inttoptr(address, element.as_pointer()), [position])
    return builder.bitcast(place, ir.VectorType(element, count).as_pointer()) if count > 1 else place


def _codes(builder, x):
    """Each of sixteen int32 as a byte, LEVELS where it is greater; none is below zero."""
    most = ir.Constant(I32x16.llvm, [LEVELS] * 16)
    least = builder.select(builder.icmp_unsigned("<", x, most), x, most)
    return builder.trunc(least, ir.VectorType(_I8, 16))


@intrinsic
def larger(typing_context, x, y):
    """The larger of two magnitudes, lane by lane; infinity is above all numbers, and NaN above infinity."""

    def emit(context, builder, sig, args):
        magnitude = ir.Constant(I32x16.llvm, [0x7FFFFFFF] * 16)
        a, b = (builder.and_(builder.bitcast(value, I32x16.llvm), magnitude) for value in args)
        return builder.bitcast(builder.select(builder.icmp_signed(">", a, b), a, b), F32x16.llvm)

    if x == y == F32x16:
        return x(x, y), emit
    return None


def _floats(builder, x):
    """float32 of int8, or of bits of bfloat16; lanes or one."""
    lanes = isinstance(x.type, ir.VectorType)
    vector = (lambda element: ir.VectorType(element, x.type.count)) if lanes else (lambda element: element)
    if (x.type.element if lanes else x.type) == _I8:
        return builder.sitofp(x, vector(_F32))
    sixteen = ir.Constant(vector(_I32), [16] * 16 if lanes else 16)
    return builder.bitcast(builder.shl(builder.zext(x, vector(_I32)), sixteen), vector(_F32))


def _reader(element, count):
    result = F32x16 if count > 1 else types.float32

    @intrinsic
    def read(typing_context, address, position):
        def emit(context, builder, sig, args):
            value = builder.load(_at(builder, *args, element, count))
            value.align = element.width // 8
            return _floats(builder, value)

        return result(types.intp, types.intp), emit

    return read


load_i8, load_bf16 = _reader(_I8, 16), _reader(_I16, 16)
get_i8, get_bf16 = _reader(_I8, 1), _reader(_I16, 1)


@intrinsic
def store_codes(typing_context, address, position, x):
    """Write sixteen codes, the byte `position` first."""

    def emit(context, builder, sig, args):
        builder.store(_codes(builder, args[2]), _at(builder, args[0], args[1], _I8, 16)).align = 1
        return context.get_dummy_value()

    if x == I32x16:
        return types.void(types.intp, types.intp, x), emit
    return None


@intrinsic
def store_first_codes(typing_context, address, position, count, x):
    """Write the first `count` codes, 1 to 15, and zeros to the next multiple of four; `position` is one."""

    def emit(context, builder, sig, args):
        address, position, count, value = args
        lanes = ir.Constant(ir.VectorType(_I32, 16), list(range(16)))
        inside = builder.icmp_signed("<", lanes, broadcast(builder, builder.trunc(count, _I32), 16))
        value = builder.select(inside, value, ir.Constant(I32x16.llvm, [0] * 16))
        words = builder.bitcast(_codes(builder, value), ir.VectorType(_I32, 4))
        groups = builder.icmp_signed(
            "<", ir.Constant(ir.VectorType(_I32, 4), [0, 4, 8, 12]), broadcast(builder, builder.trunc(count, _I32), 4)
        )
        target = builder.bitcast(_at(builder, address, position, _I8, 1), words.type.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [words.type, target.type, _I32, groups.type])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.masked.store.v4i32.p0")
        builder.call(function, [words, target, ir.Constant(_I32, 4), groups])
        return context.get_dummy_value()

    if x == I32x16 and isinstance(count, types.Integer):
        return types.void(types.intp, types.intp, types.int64, x), emit
    return None


@intrinsic
def first_lane(typing_context, x):
    """Lane 0 of int32 lanes."""
    if x == I32x16:
        return types.int32(x), lambda context, builder, sig, args: builder.extract_element(
            args[0], ir.Constant(_I32, 0)
        )
    return None
