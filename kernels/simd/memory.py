"""Memory by its address: vectors and scalars in and out, and a row's last lanes by a mask.

An address is an integer of bytes (`array.ctypes.data`); positions count float32 elements. No alignment is assumed.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minidistil.kernels.simd.values import F32x8, F32x16, Float32Vector, M1x16

_F32, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)


def pointer(builder: ir.IRBuilder, address: ir.Value, position: ir.Value, pointee: ir.Type) -> ir.Value:
    """LLVM pointer to float32 element `position` after a byte address; for code generators."""
    elements = builder.inttoptr(address, _F32.as_pointer())
    return builder.bitcast(builder.gep(elements, [position]), pointee.as_pointer())


def _load(result: Float32Vector) -> Callable:
    @intrinsic
    def function(typing_context, address, position):
        def emit(context, builder, sig, args):
            value = builder.load(pointer(builder, *args, result.llvm))
            value.align = 4
            return value

        return result(types.intp, types.intp), emit

    return function


load = _load(F32x16)
load8 = _load(F32x8)


@intrinsic
def store(typing_context, address, position, value):
    """Write all lanes."""

    def emit(context, builder, sig, args):
        target = pointer(builder, args[0], args[1], value.llvm)
        builder.store(args[2], target).align = 4
        return context.get_dummy_value()

    if isinstance(value, Float32Vector):
        return types.void(types.intp, types.intp, value), emit
    return None


@intrinsic
def load_first(typing_context, address, position, mask):
    """Read the lanes of the mask; the others are zero and their memory is not touched."""

    def emit(context, builder, sig, args):
        source = pointer(builder, args[0], args[1], F32x16.llvm)
        function_type = ir.FunctionType(F32x16.llvm, [source.type, _I32, M1x16.llvm, F32x16.llvm])
        function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.masked.load.v16f32.p0")
        return builder.call(function, [source, ir.Constant(_I32, 4), args[2], ir.Constant(F32x16.llvm, [0.0] * 16)])

    if mask == M1x16:
        return F32x16(types.intp, types.intp, mask), emit
    return None


@intrinsic
def store_first(typing_context, address, position, mask, value):
    """Write the lanes of the mask; the memory of the others is not touched."""

    def emit(context, builder, sig, args):
        target = pointer(builder, args[0], args[1], F32x16.llvm)
        function_type = ir.FunctionType(ir.VoidType(), [F32x16.llvm, target.type, _I32, M1x16.llvm])
        function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.masked.store.v16f32.p0")
        builder.call(function, [args[3], target, ir.Constant(_I32, 4), args[2]])
        return context.get_dummy_value()

    if mask == M1x16 and value == F32x16:
        return types.void(types.intp, types.intp, mask, value), emit
    return None


def _scalar(element: types.Type, llvm: ir.Type, store_it: bool) -> Callable:
    if store_it:

        @intrinsic
        def write(typing_context, address, position, value):
            def emit(context, builder, sig, args):
                target = builder.gep(builder.inttoptr(args[0], llvm.as_pointer()), [args[1]])
                builder.store(args[2], target)
                return context.get_dummy_value()

            return types.void(types.intp, types.intp, element), emit

        return write

    @intrinsic
    def read(typing_context, address, position):
        def emit(context, builder, sig, args):
            return builder.load(builder.gep(builder.inttoptr(args[0], llvm.as_pointer()), [args[1]]))

        return element(types.intp, types.intp), emit

    return read


get_f32 = _scalar(types.float32, _F32, False)
set_f32 = _scalar(types.float32, _F32, True)
get_i32 = _scalar(types.int32, _I32, False)
set_i32 = _scalar(types.int32, _I32, True)
get_i64 = _scalar(types.int64, _I64, False)
set_i64 = _scalar(types.int64, _I64, True)
get_byte = _scalar(types.int8, ir.IntType(8), False)
get_code = _scalar(types.uint8, ir.IntType(8), False)
