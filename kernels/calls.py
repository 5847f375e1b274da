"""How compiled code reads what it is called with: an int64 array that is made of NamedTuples (layout.py)."""

from __future__ import annotations

from typing import Any, get_type_hints

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

_SLOT = 8  # bytes


@intrinsic
def read_part(typing_context, call, parts, index):
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
