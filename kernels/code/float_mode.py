"""Compiled code in the default floating-point mode (minidistil/_float_mode.py), on every thread that enters it."""

from __future__ import annotations

from typing import Any

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
