"""How four products of a code and a weight become one sum, by the instructions of each kind of CPU.

Sums of whole numbers are exact in any order: which of these makes them changes no bit. So one layout of weights, four
bytes of a column side by side, serves them all. A code is 0 to 255, a weight -128 to 127.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils

from minidistil.kernels.layout import DOT_EXACT, DOT_NATIVE, DOT_PAIRS

_I8, _I16, _I32 = ir.IntType(8), ir.IntType(16), ir.IntType(32)

Dot4 = Callable[[ir.IRBuilder, Any, Any, Any], Any]
"""Gives acc + a0 b0 + a1 b1 + a2 b2 + a3 b3 in every int32 lane, of the four codes and the four weights of a lane."""


class Dots(NamedTuple):
    """A kind of sum, and the largest register tile that is made with it: rows x (vectors * lanes).

    step: groups of four k in a turn of the tile's loop; where it is `lanes`, codes are read in vectors.
    signed: codes have 128 taken from them first, for instructions that multiply signed bytes only.
    halves: an accumulator has twice the lanes, and a column's sum is that of two neighbours.
    features: LLVM's, which the tile's function has beside those of the machine. order: the CPU for which LLVM puts its
        instructions in order, where it should not be the machine's.
    """

    lanes: int
    rows: int
    vectors: int
    dot4: Dot4
    step: int = 1
    signed: bool = False
    halves: bool = False
    features: str = ""
    order: str = ""

    @property
    def sliver(self) -> int:
        """The tile's columns."""
        return self.vectors * self.lanes


def definition(builder: ir.IRBuilder, acc: Any, a: Any, b: Any, signed: bool = False) -> Any:
    """The sum as it is defined, in instructions that every machine has; `signed`: of codes that are."""
    lanes = a.type.count
    bytes_, wide = ir.VectorType(_I8, lanes * 4), ir.VectorType(_I32, lanes * 4)
    codes = (builder.sext if signed else builder.zext)(builder.bitcast(a, bytes_), wide)
    product = builder.mul(codes, builder.sext(builder.bitcast(b, bytes_), wide))
    for k in range(4):
        places = ir.Constant(ir.VectorType(_I32, lanes), [4 * i + k for i in range(lanes)])
        acc = builder.add(acc, builder.shuffle_vector(product, product, places))
    return acc


def even_and_odd(builder: ir.IRBuilder, acc: Any, a: Any, b: Any) -> Any:
    """x86-64: the even bytes as numbers of 16 bits, then the odd ones, of which two products are added at once."""
    lanes = acc.type.count
    words = ir.VectorType(_I16, lanes * 2)
    low, eight = ir.Constant(words, [255] * words.count), ir.Constant(words, [8] * words.count)
    x, w = builder.bitcast(a, words), builder.bitcast(b, words)
    even = _add_words(builder, builder.and_(x, low), builder.ashr(builder.shl(w, eight), eight))
    odd = _add_words(builder, builder.lshr(x, eight), builder.ashr(w, eight))
    return builder.add(builder.add(acc, even), odd)


def pairs(builder: ir.IRBuilder, acc: Any, a: Any, b: Any) -> Any:
    """x86-64: two products are added in 16 bits, which they fit where pairs are limited (layout.PAIR)."""
    lanes = acc.type.count
    words, bytes_ = ir.VectorType(_I16, lanes * 2), ir.VectorType(_I8, lanes * 4)
    name = {8: "avx2.pmadd.ub.sw", 16: "avx512.pmaddubs.w.512"}[lanes]
    two = call(builder, f"llvm.x86.{name}", words, builder.bitcast(a, bytes_), builder.bitcast(b, bytes_))
    return builder.add(acc, _add_words(builder, two, ir.Constant(words, [1] * words.count)))


def vnni(builder: ir.IRBuilder, acc: Any, a: Any, b: Any) -> Any:
    """x86-64 with AVX512_VNNI, or AVX_VNNI where vectors have 256 bits: one instruction."""
    return call(builder, f"llvm.x86.avx512.vpdpbusd.{acc.type.count * 32}", acc.type, acc, a, b)


def _add_words(builder: ir.IRBuilder, x: Any, y: Any) -> Any:
    """Products of int16, two neighbours added in each int32 lane."""
    lanes = x.type.count // 2
    name = {8: "avx2.pmadd.wd", 16: "avx512.pmaddw.d.512"}[lanes]
    return call(builder, f"llvm.x86.{name}", ir.VectorType(_I32, lanes), x, y)


def signed_halves(builder: ir.IRBuilder, acc: Any, a: Any, b: Any) -> Any:
    """64-bit ARM: products of int8 in 16 bits, then two of them added to an int32; two int32 for a column."""
    bytes_, quarter = ir.VectorType(_I8, 16), ir.VectorType(_I32, 4)
    x, w, sums = builder.bitcast(a, bytes_), builder.bitcast(b, bytes_), []
    for first in (0, 8):
        places = ir.Constant(ir.VectorType(_I32, 8), list(range(first, first + 8)))
        own = (builder.shuffle_vector(y, y, places) for y in (x, w))
        product = call(builder, "llvm.aarch64.neon.smull.v8i16", ir.VectorType(_I16, 8), *own)
        sums.append(call(builder, "llvm.aarch64.neon.saddlp.v4i32.v8i16", quarter, product))
    every = ir.Constant(ir.VectorType(_I32, 8), list(range(8)))
    return builder.add(acc, builder.shuffle_vector(*sums, every))


def signed_dot(builder: ir.IRBuilder, acc: Any, a: Any, b: Any) -> Any:
    """64-bit ARM with FEAT_DotProd: one instruction."""
    bytes_ = ir.VectorType(_I8, 16)
    x, w = builder.bitcast(a, bytes_), builder.bitcast(b, bytes_)
    return call(builder, "llvm.aarch64.neon.sdot.v4i32.v16i8", acc.type, acc, w, x)  # so it takes a lane of x


def whole(builder: ir.IRBuilder, dots: Dots, acc: Any) -> Any:
    """The sums of an accumulator's columns."""
    if not dots.halves:
        return acc
    quarter = ir.VectorType(_I32, 4)
    low, high = (
        builder.shuffle_vector(acc, acc, ir.Constant(quarter, list(range(first, first + 4)))) for first in (0, 4)
    )
    return call(builder, "llvm.aarch64.neon.addp.v4i32", quarter, low, high)


def call(builder: ir.IRBuilder, name: str, result: ir.Type, *arguments: Any) -> Any:
    """Call a function of LLVM's own."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


# Accumulators, the panel's vectors, a row's codes and what is in between fit the 32 or 16 registers. How the tiles were
# found: docs/kernels.md. NEON: by counting instructions, of
# which the order for no CPU in particular has sixteen copies more; never run on such a CPU.
DOTS = {
    16: {
        DOT_EXACT: Dots(16, 6, 3, even_and_odd),
        DOT_PAIRS: Dots(16, 8, 3, pairs),
        DOT_NATIVE: Dots(16, 8, 3, vnni, features="+avx512vnni"),
    },
    8: {
        DOT_EXACT: Dots(8, 4, 2, even_and_odd),
        DOT_PAIRS: Dots(8, 4, 2, pairs),
        DOT_NATIVE: Dots(8, 4, 3, vnni, features="+avxvnni"),
    },
    4: {
        DOT_EXACT: Dots(4, 4, 2, signed_halves, step=4, signed=True, halves=True),
        DOT_NATIVE: Dots(4, 7, 3, signed_dot, step=4, signed=True, features="+dotprod", order="neoverse-n1"),
    },
}
"""By the lanes of a CPU's vectors. What a kind of CPU has not got is DOT_EXACT there."""

UNKNOWN = {DOT_EXACT: Dots(4, 1, 3, definition)}
"""Of a CPU that no kernels run on."""
