"""How kernels are compiled: the one place that decides.

Kernels compile lazily and without the GIL, for the process; what people run is kept as machine code (native.py).
Nothing global is changed: no environment variable, no `numba.config`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numba
from numba.core import event
from numba.core.types.misc import unliteral

_kernels: list[Any] = []  # all that there are; who compiles one compiles those that it calls


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a kernel of a Python function: nopython, nogil, strict IEEE arithmetic, compiled at the first call.

    Division by zero follows IEEE (no Python exception inside a kernel); `fastmath` is never on, because it would let
    the compiler change the order of sums, and the bits with it.
    """
    made = _once_for_all_literals(numba.njit(nogil=True, error_model="numpy")(function))
    _kernels.append(made)
    return made


class _Counter(event.Listener):
    """Counts the kernels that Numba has compiled, each once."""

    def __init__(self, tell: Callable[[int, int], None]) -> None:
        self._tell, self._done = tell, set[int]()

    def on_start(self, event: Any) -> None:
        pass

    def on_end(self, event: Any) -> None:
        made = event.data["dispatcher"]
        if any(made is one for one in _kernels) and id(made) not in self._done:
            self._done.add(id(made))
            self._tell(len(self._done), len(_kernels))


@contextlib.contextmanager
def counted(tell: Callable[[int, int], None]) -> Iterator[None]:
    """Call `tell` with the number of kernels that are compiled, and of all, whenever one is; for this thread's time."""
    with event.install_listener("numba:compile", _Counter(tell)):
        yield


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
