"""Packing weights into panels (layout.pack), in blocks of sixteen by sixteen that are transposed in registers."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.layout import PANEL
from minidistil.kernels.simd.memory import get_f32, pointer, set_f32
from minidistil.kernels.simd.values import F32x16

_I32, _I64 = ir.IntType(32), ir.IntType(64)


@intrinsic
def transpose16(typing_context, source, ld_source, count, target, ld_target):
    """target[j, i] = source[i, j] for sixteen by sixteen float32, each by its address and leading dimension.

    Only `count` rows of the source are there (1 to 16, or more); the last of them stands in for those that are not.
    """

    def emit(context, builder, sig, args):
        source, ld_source, count, target, ld_target = args
        last = builder.sub(count, ir.Constant(_I64, 1))
        rows = []
        for i in range(16):
            number = ir.Constant(_I64, i)
            place = builder.mul(ld_source, builder.select(builder.icmp_signed("<", number, last), number, last))
            rows.append(builder.load(pointer(builder, source, place, F32x16.llvm)))
            rows[-1].align = 4
        # Swap the off-diagonal halves of blocks of 2, 4, 8 and 16.
        for step in (1, 2, 4, 8):
            upper = [j if not j & step else 16 + j - step for j in range(16)]
            lower = [j + step if not j & step else 16 + j for j in range(16)]
            for i in range(16):
                if not i & step:
                    a, b = rows[i], rows[i + step]
                    masks = (ir.Constant(ir.VectorType(_I32, 16), pick) for pick in (upper, lower))
                    rows[i], rows[i + step] = (builder.shuffle_vector(a, b, mask) for mask in masks)
        for i, row in enumerate(rows):
            place = builder.mul(ld_target, ir.Constant(_I64, i))
            builder.store(row, pointer(builder, target, place, F32x16.llvm)).align = 4
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), emit


@kernel
def pack_rows(weight, n, k, out):
    """W float32 [n, k] into panels float32 [panels(n), k, PANEL], both by address; columns beyond n become zero."""
    for first in range(0, n, 16):
        target = out + (first // PANEL * k * PANEL + first % PANEL) * 4
        rows, whole = min(16, n - first), k - k % 16
        for j in range(0, whole, 16):
            transpose16(weight + (first * k + j) * 4, k, rows, target + j * PANEL * 4, PANEL)
        for j in range(whole, k):
            for i in range(rows):
                set_f32(target, j * PANEL + i, get_f32(weight, (first + i) * k + j))
    end = (n + PANEL - 1) // PANEL * PANEL
    last = out + (end // PANEL - 1) * k * PANEL * 4
    for j in range(k if end > n else 0):
        for i in range(n - (end - PANEL), PANEL):
            set_f32(last, j * PANEL + i, np.float32(0.0))
