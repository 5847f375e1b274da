"""The floating-point mode that everything runs in, whatever the caller's: nearest, subnormals kept, nothing trapped.

The mode (MXCSR on x86-64, FPCR on 64-bit ARM) belongs to the thread. `fesetround` changes it; so does loading a library
that was built with -ffast-math, which sets subnormals to zero; and a new thread has that of the thread that made it.
Compiled code sets it by itself, on every thread; Python sets it where a call comes in.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])


class default_mode:  # named as what it is used as, a function
    """The thread in the default mode, within a block or a function; then in the caller's again.

    Not around what yields: whoever consumes would be in it too. On Windows it does nothing.
    """

    def __enter__(self) -> None:
        self._caller = _Environment()
        get, set_, default = _functions()
        get(self._caller)
        set_(default)

    def __exit__(self, *exception: object) -> None:
        _functions()[1](self._caller)

    def __call__(self, function: Function) -> Function:
        """Decorate a function. (contextlib's decorator would be a frame that warnings take for the caller's.)"""

        @functools.wraps(function)
        def in_default_mode(*args: Any, **options: Any) -> Any:
            with default_mode():
                return function(*args, **options)

        return cast(Function, in_default_mode)


# What C calls fenv_t; the largest known has 32 bytes.
_Environment = ctypes.c_int64 * 16


@functools.cache
def _functions() -> tuple[Callable[[Any], object], Callable[[Any], object], Any]:
    """The C library's fegetenv and fesetenv, and what it calls FE_DFL_ENV."""
    if sys.platform == "win32":
        return id, id, None
    # PyDLL: they take nanoseconds, for which nobody lets go of the GIL.
    library = ctypes.PyDLL(None)
    if not hasattr(library, "fesetenv"):
        library = ctypes.PyDLL("libm.so.6")
    for function in (library.fegetenv, library.fesetenv):
        function.argtypes = [ctypes.c_void_p]
    darwin = sys.platform == "darwin"
    default = ctypes.addressof(ctypes.c_char.in_dll(library, "_FE_DFL_ENV")) if darwin else ctypes.c_void_p(-1)
    return library.fegetenv, library.fesetenv, default
