"""Vectors of lanes as values: kernels that read like their formulas, in instructions that are the same on every CPU.

`F32x16` (and `F32x8`) is a Numba type whose values are LLVM vectors. Operators work lane by lane; `fma` rounds once.
LLVM splits sixteen lanes into what the CPU has (one zmm, two ymm, four NEON registers), so one source serves all of
them and a lane's bits never depend on its width. Comparisons give masks for `where`.

How they come from memory and go there: memory.py.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing import signature
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 16

_I1, _I32 = ir.IntType(1), ir.IntType(32)
_F32, _F64 = ir.FloatType(), ir.DoubleType()


class _Vector(types.Type):
    """Lanes of one element type."""

    def __init__(self, name: str, element: ir.Type, lanes: int) -> None:
        super().__init__(name)
        self.llvm = ir.VectorType(element, lanes)
        self.lanes = lanes
        self.mangled = f"v{lanes}{'f' if element is _F32 else 'i'}32"


class Float32Vector(_Vector):
    """float32 lanes."""


class Int32Vector(_Vector):
    """int32 lanes."""


class MaskVector(_Vector):
    """One bit a lane."""


F32x16 = Float32Vector("F32x16", _F32, 16)
F32x8 = Float32Vector("F32x8", _F32, 8)
I32x16 = Int32Vector("I32x16", _I32, 16)
M1x16 = MaskVector("M1x16", _I1, 16)


class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: _Vector) -> None:
        super().__init__(manager, fe_type, fe_type.llvm)


for _type in (Float32Vector, Int32Vector, MaskVector):
    register_model(_type)(_VectorModel)


# Operators


def _operator(symbol: Callable, kinds: Sequence[type], emit: Callable, result: Callable = lambda v: v) -> None:
    """Teach Numba `symbol` on two vectors of one type among `kinds`."""

    @infer_global(symbol)
    class _Typing(AbstractTemplate):
        def generic(self, args: tuple, kws: dict) -> Any:
            if len(args) == 2 and args[0] == args[1] and isinstance(args[0], tuple(kinds)):
                return signature(result(args[0]), *args)
            return None

    for kind in kinds:

        @lower_builtin(symbol, kind, kind)
        def _lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
            return emit(builder, *args)


_operator(operator.add, [Float32Vector], lambda b, x, y: b.fadd(x, y))
_operator(operator.sub, [Float32Vector], lambda b, x, y: b.fsub(x, y))
_operator(operator.mul, [Float32Vector], lambda b, x, y: b.fmul(x, y))
_operator(operator.truediv, [Float32Vector], lambda b, x, y: b.fdiv(x, y))
_operator(operator.lt, [Float32Vector], lambda b, x, y: b.fcmp_ordered("<", x, y), lambda v: M1x16)
_operator(operator.add, [Int32Vector], lambda b, x, y: b.add(x, y))
_operator(operator.sub, [Int32Vector], lambda b, x, y: b.sub(x, y))
_operator(operator.eq, [Int32Vector], lambda b, x, y: b.icmp_signed("==", x, y), lambda v: M1x16)


# Functions of lanes


def _call(builder: ir.IRBuilder, name: str, vector: _Vector, args: Sequence[ir.Value]) -> ir.Value:
    """Call the LLVM intrinsic `name` of one vector type for arguments and result."""
    function_type = ir.FunctionType(vector.llvm, [vector.llvm] * len(args))
    function = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.{name}.{vector.mangled}")
    return builder.call(function, args)


def _unary(name: str) -> Callable:
    @intrinsic
    def function(typing_context, x):
        if isinstance(x, Float32Vector):
            return x(x), lambda context, builder, sig, args: _call(builder, name, x, args)
        return None

    return function


rint = _unary("rint")  # to the nearest integer, ties to even
floor = _unary("floor")
fabs = _unary("fabs")
sqrt = _unary("sqrt")  # correctly rounded


@intrinsic
def fma(typing_context, x, y, z):
    """x * y + z in every lane, rounded once."""
    if isinstance(x, Float32Vector) and x == y == z:
        return x(x, x, x), lambda context, builder, sig, args: _call(builder, "fma", x, args)
    return None


@intrinsic
def negative(typing_context, x):
    """The sign of every lane turned, NaN and zero included."""
    if isinstance(x, Float32Vector):
        return x(x), lambda context, builder, sig, args: builder.fneg(args[0])
    return None


@intrinsic
def copysign(typing_context, magnitude, sign):
    """The magnitude of one vector with the sign of another."""
    if isinstance(magnitude, Float32Vector) and magnitude == sign:
        return magnitude(magnitude, sign), lambda context, builder, sig, args: _call(
            builder, "copysign", magnitude, args
        )
    return None


@intrinsic
def where(typing_context, mask, x, y):
    """x in the lanes of the mask, y in the others."""
    if isinstance(mask, MaskVector) and x == y:
        return x(mask, x, y), lambda context, builder, sig, args: builder.select(*args)
    return None


@intrinsic
def bits(typing_context, x):
    """The bits of float32 lanes as int32."""
    if x == F32x16:
        return I32x16(x), lambda context, builder, sig, args: builder.bitcast(args[0], I32x16.llvm)
    return None


@intrinsic
def from_bits(typing_context, x):
    """int32 lanes as the float32 with these bits."""
    if x == I32x16:
        return F32x16(x), lambda context, builder, sig, args: builder.bitcast(args[0], F32x16.llvm)
    return None


@intrinsic
def shift_left(typing_context, x, count):
    """Every int32 lane shifted left by a literal count."""
    if x == I32x16 and isinstance(count, types.IntegerLiteral):
        amount = ir.Constant(I32x16.llvm, [count.literal_value] * 16)
        return x(x, count), lambda context, builder, sig, args: builder.shl(args[0], amount)
    return None


@intrinsic
def shift_right(typing_context, x, count):
    """Every int32 lane shifted right by a literal count, its sign kept."""
    if x == I32x16 and isinstance(count, types.IntegerLiteral):
        amount = ir.Constant(I32x16.llvm, [count.literal_value] * 16)
        return x(x, count), lambda context, builder, sig, args: builder.ashr(args[0], amount)
    return None


@intrinsic
def keep_bits(typing_context, x, mask):
    """The bits of int32 lanes that the mask has too."""
    if x == mask == I32x16:
        return x(x, mask), lambda context, builder, sig, args: builder.and_(*args)
    return None


def polynomials(rows: Sequence[Sequence[float]]) -> Callable:
    """A function of float32 and int32 lanes: in each lane the polynomial of a row, in float64, rounded once.

    Each row holds coefficients from the constant term up; Horner's rule, fused. A lane takes its coefficients from
    memory by itself: the CPUs' instructions that gather are slower than that.
    """
    width = len(rows[0])
    table = ir.Constant(ir.ArrayType(_F64, width * len(rows)), [c for row in rows for c in row])

    @intrinsic
    def function(typing_context, x, row):
        def emit(context, builder, sig, args):
            start = builder.bitcast(cgutils.global_constant(builder, "polynomials", table), _F64.as_pointer())
            fma64 = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_F64, [_F64] * 3), "llvm.fma.f64")
            wide = ir.VectorType(_F64, 16)
            arguments, result = builder.fpext(args[0], wide), ir.Constant(wide, ir.Undefined)
            places = builder.mul(args[1], ir.Constant(I32x16.llvm, [width] * 16))
            for i in range(16):
                lane_index = ir.Constant(_I32, i)
                argument = builder.extract_element(arguments, lane_index)
                own = builder.gep(start, [builder.extract_element(places, lane_index)])
                coefficients = [builder.load(builder.gep(own, [ir.Constant(_I32, k)])) for k in range(width)]
                total = coefficients.pop()
                while coefficients:
                    total = builder.call(fma64, [total, argument, coefficients.pop()])
                result = builder.insert_element(result, total, lane_index)
            return builder.fptrunc(result, F32x16.llvm)

        if x == F32x16 and row == I32x16:
            return x(x, row), emit
        return None

    return function


# Making and taking apart


def broadcast(builder: ir.IRBuilder, value: ir.Value, lanes: int) -> ir.Value:
    """LLVM value with `value` in every lane; for code generators."""
    vector = ir.VectorType(value.type, lanes)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes))


def _splat(result: _Vector, scalar: types.Type) -> Callable:
    @intrinsic
    def function(typing_context, x):
        return result(scalar), lambda context, builder, sig, args: broadcast(builder, args[0], result.lanes)

    return function


splat = _splat(F32x16, types.float32)
splat8 = _splat(F32x8, types.float32)
splat_bits = _splat(I32x16, types.int32)


def _half(start: int) -> Callable:
    @intrinsic
    def function(typing_context, x):
        if x == F32x16:
            pick = ir.Constant(ir.VectorType(_I32, 8), list(range(start, start + 8)))

            def emit(context, builder, sig, args):
                return builder.shuffle_vector(args[0], ir.Constant(F32x16.llvm, ir.Undefined), pick)

            return F32x8(x), emit
        return None

    return function


low = _half(0)  # lanes 0 to 7
high = _half(8)  # lanes 8 to 15


@intrinsic
def numbered_from(typing_context, first):
    """int32 lanes first, first + 1, ..., first + 15."""

    def emit(context, builder, sig, args):
        return builder.add(broadcast(builder, builder.trunc(args[0], _I32), 16), ir.Constant(I32x16.llvm, [*range(16)]))

    return I32x16(types.int64), emit


@intrinsic
def lane(typing_context, x, index):
    """One lane as a float32 scalar; the index may vary."""
    if isinstance(x, Float32Vector) and isinstance(index, types.Integer):

        def emit(context, builder, sig, args):
            return builder.extract_element(
                args[0], builder.trunc(args[1], _I32) if args[1].type.width > 32 else args[1]
            )

        return types.float32(x, index), emit
    return None


def _fold(builder: ir.IRBuilder, x: ir.Value, combine: Callable) -> ir.Value:
    """Combine lane i with lane i + half, halving until one lane is left."""
    lanes = x.type.count
    while lanes > 1:
        lanes //= 2
        undefined = ir.Constant(x.type, ir.Undefined)
        halves = [
            builder.shuffle_vector(x, undefined, ir.Constant(ir.VectorType(_I32, lanes), list(range(i, i + lanes))))
            for i in (0, lanes)
        ]
        x = combine(*halves)
    return builder.extract_element(x, ir.Constant(_I32, 0))


@intrinsic
def tree_sum(typing_context, x):
    """Sum of the lanes as a tree: i with i + half, and so on down to one."""
    if isinstance(x, Float32Vector):
        return types.float32(x), lambda context, builder, sig, args: _fold(builder, args[0], builder.fadd)
    return None


@intrinsic
def maximum(typing_context, x):
    """Greatest lane; a NaN lane may be passed over."""

    def emit(context, builder, sig, args):
        return _fold(builder, args[0], lambda a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))

    if isinstance(x, Float32Vector):
        return types.float32(x), emit
    return None


@intrinsic
def first_lanes(typing_context, count):
    """The mask of the first `count` of sixteen lanes (all of them from 16 on, none below 1)."""

    def emit(context, builder, sig, args):
        index = ir.Constant(I32x16.llvm, list(range(16)))
        count32 = builder.trunc(args[0], _I32) if args[0].type.width > 32 else args[0]
        return builder.icmp_signed("<", index, broadcast(builder, count32, 16))

    if isinstance(count, types.Integer):
        return M1x16(count), emit
    return None


@intrinsic
def fma_scalar(typing_context, x, y, z):
    """x * y + z on float32 scalars, rounded once."""

    def emit(context, builder, sig, args):
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_F32, [_F32] * 3), "llvm.fma.f32")
        return builder.call(function, args)

    return types.float32(types.float32, types.float32, types.float32), emit


@intrinsic
def sqrt_scalar(typing_context, x):
    """The square root of a float32 scalar, correctly rounded."""

    def emit(context, builder, sig, args):
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_F32, [_F32]), "llvm.sqrt.f32")
        return builder.call(function, args)

    return types.float32(types.float32), emit
