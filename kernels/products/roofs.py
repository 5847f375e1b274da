"""What one core can do at most: fused multiply-adds that never leave the registers, and reads of memory."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.layout import READ_STEP
from minidistil.kernels.products.tile import LANES, ROWS, VECTORS
from minidistil.kernels.simd.memory import load
from minidistil.kernels.simd.values import maximum

_F32, _I64 = ir.FloatType(), ir.IntType(64)


@intrinsic
def _multiply_add_chains(typing_context, rounds, factor):
    """As many independent chains as the register tile has, `rounds` long; returns a lane of their sum."""

    def emit(context, builder, sig, args):
        vector = ir.VectorType(_F32, LANES)
        function_type = ir.FunctionType(vector, [vector] * 3)
        fma = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.fma.v{LANES}f32")
        undefined = ir.Constant(vector, ir.Undefined)
        first = builder.insert_element(undefined, args[1], ir.Constant(ir.IntType(32), 0))
        x = builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))
        before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        i = builder.phi(_I64)
        chains = [builder.phi(vector) for _ in range(ROWS * VECTORS)]
        results = [builder.call(fma, [x, x, chain]) for chain in chains]
        following = builder.add(i, ir.Constant(_I64, 1))
        i.add_incoming(ir.Constant(_I64, 0), before)
        i.add_incoming(following, loop)
        for chain, result in zip(chains, results, strict=True):
            chain.add_incoming(ir.Constant(vector, [0.0] * LANES), before)
            chain.add_incoming(result, loop)
        builder.cbranch(builder.icmp_signed("<", following, args[0]), loop, after)
        builder.position_at_end(after)
        total = results[0]
        for result in results[1:]:
            total = builder.fadd(total, result)
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return types.float32(types.int64, types.float32), emit


@kernel
def multiply_adds(rounds, factor):
    """Run `rounds` of ROWS x VECTORS vector multiply-adds; the result only keeps them from being left out."""
    return _multiply_add_chains(rounds, factor)


@kernel
def read(x, n):
    """Read n float32 at an address, n in whole READ_STEPs, in four sums; the result keeps them from being left out."""
    a, b, c, d = load(x, 0), load(x, 16), load(x, 32), load(x, 48)
    for i in range(READ_STEP, n, READ_STEP):
        a = a + load(x, i)
        b = b + load(x, i + 16)
        c = c + load(x, i + 32)
        d = d + load(x, i + 48)
    return maximum((a + b) + (c + d))
