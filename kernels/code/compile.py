"""How kernels are compiled: the one place that decides.

Kernels compile lazily and without the GIL, for the process; what people run is kept as machine code (native.py).
Nothing global is changed: no environment variable, no `numba.config`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba.core.types.misc import unliteral


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a kernel of a Python function: nopython, nogil, strict IEEE arithmetic, compiled at the first call.

    Division by zero follows IEEE (no Python exception inside a kernel); `fastmath` is never on, because it would let
    the compiler change the order of sums, and the bits with it.
    """
    return _once_for_all_literals(numba.njit(nogil=True, error_model="numpy")(function))


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a part of one kernel, to be read by itself: it is compiled into its caller only, which halves the work."""
    return numba.njit(nogil=True, error_model="numpy", inline="always")(function)


def _once_for_all_literals(dispatcher: Any) -> Any:
    """Numba compiles a function anew for every constant in a call of it, as a type of its own; here, once."""
    template = dispatcher.get_call_template

    def get_call_template(args: Any, kws: Any) -> Any:
        return template(tuple(map(unliteral, args)), {name: unliteral(kind) for name, kind in kws.items()})

    dispatcher.get_call_template = get_call_template
    return dispatcher
