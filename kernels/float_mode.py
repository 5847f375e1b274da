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


class default_mode:  # noqa: N801: it is used as a function is
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


# Each way: what it declares, how it saves the caller's mode and sets the default, how it restores the caller's.
_X86 = (
    "declare void @llvm.x86.sse.stmxcsr(ptr)\ndeclare void @llvm.x86.sse.ldmxcsr(ptr)",
    """
  %caller = alloca i32
  %default = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %caller)
  store i32 8064, ptr %default
  call void @llvm.x86.sse.ldmxcsr(ptr %default)
""",  # 0x1F80: what the System V and the Windows ABI have a process begin with
    "call void @llvm.x86.sse.ldmxcsr(ptr %caller)",
)
_ARM = (
    "declare i64 @llvm.aarch64.get.fpcr()\ndeclare void @llvm.aarch64.set.fpcr(i64)",
    """
  %caller = call i64 @llvm.aarch64.get.fpcr()
  call void @llvm.aarch64.set.fpcr(i64 0)
""",
    "call void @llvm.aarch64.set.fpcr(i64 %caller)",
)
_ARCHITECTURES = {"x86_64": _X86, "amd64": _X86, "aarch64": _ARM, "arm64": _ARM}

# As Numba compiles a function of three int64: a status; where the result goes, and an exception; the arguments.
_WRAPPER = """
target triple = "{triple}"
{declarations}
declare i32 @"{body}"(ptr, ptr, i64, i64, i64)
define i32 @"{symbol}"(ptr %result, ptr %exception, i64 %call, i64 %thread, i64 %threads) {{
{enter}
  %status = call i32 @"{body}"(ptr %result, ptr %exception, i64 %call, i64 %thread, i64 %threads)
  {leave}
  ret i32 %status
}}
"""


def run_in_default_mode(module: Any, symbol: str) -> None:
    """Have a function of an LLVM module set the default mode for its whole run, and leave the caller's behind.

    What the function did before becomes a function of its own, which is never inlined: nothing moves an operation out
    of it, beyond the instructions that change the mode. Compiled code raises no exceptions, so it always returns.

    Raises:
        ValueError: the module is for another architecture.
    """
    architecture = module.triple.partition("-")[0]
    if architecture not in _ARCHITECTURES:
        raise ValueError(f"how {architecture} keeps its floating-point mode is not known here")
    declarations, enter, leave = _ARCHITECTURES[architecture]
    function, body = module.get_function(symbol), f"{symbol}.body"
    function.name = body
    function.add_function_attribute("noinline")
    text = _WRAPPER.format(
        triple=module.triple, declarations=declarations, body=body, symbol=symbol, enter=enter, leave=leave
    )
    from llvmlite import binding

    wrapper = binding.parse_assembly(text)
    wrapper.data_layout = module.data_layout
    module.link_in(wrapper)
