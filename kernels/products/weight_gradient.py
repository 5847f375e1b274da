"""The product dW += dY^T X, whose sum runs over tokens, in the order of sums of every product.

Tokens come in blocks of `chain_length`, outermost. A block of dY is turned over once, into rows of A that stay in the
second-level cache while one panel of X after another, packed as weights are, is multiplied by them.
"""

from __future__ import annotations

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.layout import CHAIN, GRADIENT_ROWS, PANEL
from minidistil.kernels.products.gemm import chain_length, copy_rows, multiply_block
from minidistil.kernels.products.packing import pack_columns, transpose


@kernel
def add_weight_gradient(dy, ld_dy, x, ld_x, tokens, rows, columns, out, ld_out, scratch):
    """out += dY^T X: each element takes the totals of blocks of tokens, each one chain from zero, one after another.

    Args:
        dy: address of float32 [tokens, rows], rows `ld_dy` apart; at most GRADIENT_ROWS rows.
        x: address of float32 [tokens, columns], rows `ld_x` apart.
        out: address of float32 [rows, columns], rows `ld_out` apart.
        scratch: address of float32 [layout.GRADIENT_SCRATCH].
    """
    a, b = scratch, scratch + GRADIENT_ROWS * CHAIN * 4
    partial = b + CHAIN * PANEL * 4
    block = chain_length(tokens)
    for first in range(0, tokens, max(block, 1)):
        length = min(block, tokens - first)
        transpose(dy + first * ld_dy * 4, ld_dy, length, rows, a, CHAIN)
        for j in range(0, columns, PANEL):
            width, c = min(PANEL, columns - j), out + j * 4
            pack_columns(x + (first * ld_x + j) * 4, ld_x, length, width, b, 0, length)
            if width == PANEL:
                multiply_block(a, CHAIN, rows, b, 4, PANEL, c, ld_out, 0, length, 1, b, 0)
            else:  # a tile is wider than what is there
                copy_rows(c, ld_out, partial, PANEL, rows, width)
                multiply_block(a, CHAIN, rows, b, 4, PANEL, partial, PANEL, 0, length, 1, b, 0)
                copy_rows(partial, PANEL, c, ld_out, rows, width)
