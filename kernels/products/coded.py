"""The product of coded rows with a panel of whole numbers, by its definition (reference/int8.py)."""

from __future__ import annotations

import numpy as np

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.layout import CODES, PANEL
from minidistil.kernels.simd.memory import get_byte, get_code, get_f32, get_i32, set_f32, set_i32
from minidistil.kernels.simd.values import fma_scalar

f32 = np.float32


@kernel
def multiply_coded(x, ld, rows, panel, scale, bias, sums, k, out, ld_out):
    """out = fma(float32(codes W^T - zero sums), scale of the row * scale of the column, bias), one panel by address."""
    for i in range(rows):
        row, result = x + i * ld * 4, out + i * ld_out * 4
        row_scale, zero = get_f32(row, 0), get_i32(row, 1)
        for j in range(PANEL):
            set_i32(result, j, np.int32(0))
        for t in range((k + 3) // 4):
            a, b = get_code(row + CODES, t * 4), get_code(row + CODES, t * 4 + 1)
            c, d = get_code(row + CODES, t * 4 + 2), get_code(row + CODES, t * 4 + 3)
            four = panel + t * PANEL * 4
            for j in range(PANEL):
                total = a * get_byte(four, j * 4) + b * get_byte(four, j * 4 + 1)
                total += c * get_byte(four, j * 4 + 2) + d * get_byte(four, j * 4 + 3)
                set_i32(result, j, np.int32(get_i32(result, j) + total))
        for j in range(PANEL):
            total = get_i32(result, j) - zero * get_i32(sums, j)
            set_f32(result, j, fma_scalar(f32(np.int32(total)), row_scale * get_f32(scale, j), get_f32(bias, j)))
