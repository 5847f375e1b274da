"""The functions that machine code is kept of: each takes the address of a call (layout.py), its thread, the team."""

from __future__ import annotations

from typing import Any, get_type_hints

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from minidistil.kernels import encoder, layout, masked_lm
from minidistil.kernels._compile import kernel
from minidistil.kernels.activations import activate_in_place
from minidistil.kernels.layer_norm import normalize_row
from minidistil.kernels.narrow import narrow_product
from minidistil.kernels.pack import pack_rows
from minidistil.kernels.product import product_exact_width
from minidistil.kernels.roofs import READ_STEP, multiply_adds, read
from minidistil.kernels.simd import get_f32, set_f32
from minidistil.kernels.team import meet

_SLOT = 8  # bytes


@intrinsic
def _read(typing_context, call, parts, index):
    """Part `index` (a literal) of a call made of `parts` (a tuple of NamedTuple classes)."""
    if not isinstance(index, types.IntegerLiteral):
        return None
    classes = [part.instance_class for part in parts]
    cls = classes[index.literal_value]
    start = sum(len(c._fields) for c in classes[: index.literal_value])
    hints = get_type_hints(cls)
    kinds = [types.float32 if hints[name] is float else types.int64 for name in cls._fields]
    uniform = len(set(kinds)) == 1
    result = types.NamedUniTuple(kinds[0], len(kinds), cls) if uniform else types.NamedTuple(kinds, cls)

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        values = []
        for i, kind in enumerate(kinds):
            place = builder.add(args[0], ir.Constant(ir.IntType(64), (start + i) * _SLOT))
            values.append(builder.load(builder.inttoptr(place, context.get_value_type(kind).as_pointer())))
        return context.make_tuple(builder, result, values)

    return result(call, parts, index), emit


@kernel
def encode(call, thread, threads):
    """`encoder.encode`; the call is made of layout.ENCODE."""
    parts = layout.ENCODE
    return encoder.encode(
        _read(call, parts, 0),
        _read(call, parts, 1),
        _read(call, parts, 2),
        _read(call, parts, 3),
        _read(call, parts, 4),
        _read(call, parts, 5).memory,
        thread,
        threads,
    )


@kernel
def score_vocabulary(call, thread, threads):
    """`masked_lm.masked_lm`; the call is made of layout.MASKED_LM."""
    parts = layout.MASKED_LM
    return masked_lm.masked_lm(
        _read(call, parts, 0), _read(call, parts, 1), _read(call, parts, 2).memory, thread, threads
    )


@kernel
def linear(call, thread, threads):
    """One product, by a single thread; the call is made of layout.LINEAR."""
    own = _read(call, layout.LINEAR, 0)
    if own.n < 12:
        narrow_product(own.x, own.rows, own.k, own.weight, own.bias, own.n, own.out)
        return True
    team = _read(call, layout.LINEAR, 1).memory
    product_exact_width(own.x, own.k, own.rows, own.weight, own.bias, own.k, own.n, own.out, own.scratch, team, 0)
    return True


@kernel
def layer_norm(call, thread, threads):
    """LayerNorm of rows; the call is made of layout.LAYER_NORM."""
    own = _read(call, layout.LAYER_NORM, 0)
    for i in range(own.rows):
        normalize_row(own.x + i * own.n * 4, own.n, own.gain, own.shift, own.eps, own.scratch)
    return True


@kernel
def activate(call, thread, threads):
    """One activation; the call is made of layout.ACTIVATE."""
    own = _read(call, layout.ACTIVATE, 0)
    activate_in_place(own.x, own.n, own.kind)
    return True


@kernel
def pack(call, thread, threads):
    """Packing of one matrix; the call is made of layout.PACK."""
    own = _read(call, layout.PACK, 0)
    pack_rows(own.weight, own.n, own.k, own.out)
    return True


@kernel
def roof(call, thread, threads):
    """What the cores can do at most, each thread with its share; the call is made of layout.ROOF."""
    own, team = _read(call, layout.ROOF, 0), _read(call, layout.ROOF, 1).memory
    if own.x == 0:
        result = multiply_adds(own.rounds, get_f32(own.out, thread))
    else:
        share = own.n // threads // READ_STEP * READ_STEP
        result = read(own.x + thread * share * 4, share)
    set_f32(own.out, thread, result)
    return meet(team, threads)
