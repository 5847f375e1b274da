"""The matrix product of few columns, y = x W^T + b with 1 to 11 of them, in the order that PyTorch's sums have there.

MKL has other kernels for so few: dot products of x's rows and W's. Columns in whole groups of four are summed in four
lanes (lane k mod 4), the columns left over in eight; multiply and add are rounded each by itself; the lanes fold
(i, i + half); the terms of k beyond the last whole vector follow one by one; the bias comes last. K is not cut.
A single column is summed in four lanes too, but its first term goes before the vectors, into the first lane.

Here the lanes of a vector are the columns, and the lanes of that order are variables: the first sliver of a block of
packed weights holds all columns of a k side by side.
"""

from __future__ import annotations

import numpy as np

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.layout import PANEL
from minidistil.kernels.products.gemm import chain_length
from minidistil.kernels.products.tile import SLIVER
from minidistil.kernels.simd.memory import get_f32, load, store_first
from minidistil.kernels.simd.values import first_lanes, splat, where

f32 = np.float32


@kernel
def multiply_narrow(row, k, weight, bias, n, out):
    """out = x W^T + bias of one row, every array by its address: x float32 [k], one packed panel, out float32 [n]."""
    total = _four(row, k, weight, n == 1)
    if n % 4 != 0 and n != 1:
        total = where(first_lanes(n // 4 * 4), total, _eight(row, k, weight))
    store_first(out, 0, first_lanes(n), total + load(bias, 0))


@kernel
def _term(row, weight, t, block):
    """x[t] W[:, t]; the lanes beyond the first sliver are of no use to anybody."""
    return splat(get_f32(row, t)) * load(weight, t // block * block * (PANEL - SLIVER) + t * SLIVER)


@kernel
def _four(row, k, weight, first_apart):
    """The sums of sixteen columns, each in four lanes; the first term in the first lane, ahead, where it is apart."""
    s0 = s1 = s2 = s3 = splat(f32(0.0))
    block = chain_length(k)
    first = 1 if first_apart else 0
    for t in range(first):
        s0 = s0 + _term(row, weight, t, block)
    whole = k - (k - first) % 4
    for t in range(first, whole, 4):
        s0 = s0 + _term(row, weight, t, block)
        s1 = s1 + _term(row, weight, t + 1, block)
        s2 = s2 + _term(row, weight, t + 2, block)
        s3 = s3 + _term(row, weight, t + 3, block)
    total = (s0 + s2) + (s1 + s3)
    for t in range(whole, k):
        total = total + _term(row, weight, t, block)
    return total


@kernel
def _eight(row, k, weight):
    """The sums of sixteen columns, each in eight lanes."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = splat(f32(0.0))
    block = chain_length(k)
    whole = k - k % 8
    for t in range(0, whole, 8):
        s0 = s0 + _term(row, weight, t, block)
        s1 = s1 + _term(row, weight, t + 1, block)
        s2 = s2 + _term(row, weight, t + 2, block)
        s3 = s3 + _term(row, weight, t + 3, block)
        s4 = s4 + _term(row, weight, t + 4, block)
        s5 = s5 + _term(row, weight, t + 5, block)
        s6 = s6 + _term(row, weight, t + 6, block)
        s7 = s7 + _term(row, weight, t + 7, block)
    total = ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))
    for t in range(whole, k):
        total = total + _term(row, weight, t, block)
    return total
