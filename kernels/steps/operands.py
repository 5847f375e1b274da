"""How compiled code reads NamedTuples from memory: what a call and each of its steps are made of (table.py)."""

from __future__ import annotations

import itertools
from typing import get_type_hints

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

_SLOT = 8  # bytes


def reader(cls):
    """A compiled function from an address to the `cls` that lies there; what is not used of it is not read."""
    result = _type_of(cls)

    @intrinsic
    def read(typing_context, address):
        def emit(context, builder, sig, args):
            def value(kind):
                if isinstance(kind, types.BaseTuple):
                    return context.make_tuple(builder, kind, [value(part) for part in kind])
                place = builder.add(args[0], ir.Constant(ir.IntType(64), next(slots) * _SLOT))
                return builder.load(builder.inttoptr(place, context.get_value_type(kind).as_pointer()))

            slots = itertools.count()
            return value(result)

        return result(types.int64), emit

    return read


def _type_of(cls):
    kinds = []
    for hint in get_type_hints(cls).values():
        number = types.float32 if hint is float else types.int64
        kinds.append(_type_of(hint) if hasattr(hint, "_fields") else number)
    if len(set(kinds)) == 1:
        return types.NamedUniTuple(kinds[0], len(kinds), cls)
    return types.NamedTuple(kinds, cls)
