"""Machine code of the entries: compiled once with Numba, kept as object files, called without Numba.

Loading a kept entry takes milliseconds and needs llvmlite only; Numba, whose import alone takes longer than a whole
first result should, is imported where something must be compiled. A call releases the GIL.

Code is kept (kept.py) under a digest of everything that it follows from: the sources of all kernels, the CPU and its
features, llvmlite. So nothing stale is ever found, and nothing needs to be thrown out.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minidistil._loading import loading
from minidistil.kernels.code import kept
from minidistil.kernels.code.float_mode import run_in_default_mode
from minidistil.kernels.code.target import Unavailable, cpu, target

__all__ = ("ENTRIES", "Entry", "Unavailable", "closed_module", "cpu", "entry")

logger = logging.getLogger("minidistil")

ENTRIES = {"run": "minidistil.kernels.steps.run"}
"""The functions that code is kept of: name -> the module that has it, imported only where it must be compiled."""

Entry = Callable[[int, int, int], bool]
"""Takes the address of a call (steps/table.py), a thread's number and the team's size; False where the team gave up."""

_FOLDER = Path(__file__).resolve().parents[1]  # of all kernels
# Of the C library; the kernels need no other.
_ALLOWED = ("sched_yield", "SwitchToThread", "clock_gettime", "memcpy", "memset", "memmove")
_entries: dict[str, Entry] = {}


def entry(name: str) -> Entry:
    """An entry by its name, from its object file or compiled now.

    Raises:
        Unavailable: the CPU that code is compiled for has no fused multiply-add of vectors; or nothing is kept, and
            Numba is missing.
    """
    if name in _entries:
        return _entries[name]
    with loading():
        try:
            if name not in _entries:
                _entries[name] = _function(*(kept.read(name, _key()) or _compile(name)))
            return _entries[name]
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] not in ("numba", "llvmlite"):
                raise
            raise Unavailable(f"{error.name} is not installed") from None


@functools.lru_cache(maxsize=1)
def _key() -> str:
    import llvmlite

    digest = hashlib.blake2b(digest_size=12)
    for path in sorted(_FOLDER.rglob("*.py")):
        digest.update(path.relative_to(_FOLDER).as_posix().encode() + b"\0" + path.read_bytes())
    digest.update("\0".join((*cpu(), llvmlite.__version__)).encode())
    return digest.hexdigest()


def _compile(name: str) -> tuple[str, bytes]:
    """Compile an entry with Numba and keep its object code where that is possible."""
    if not target().lanes:
        raise Unavailable(
            f"the CPU that code is compiled for ({target().name}) has no fused multiply-add of vectors, without which "
            "the kernels would be slow and lean on the C library's arithmetic"
        )
    _announce()
    symbol, code = _object_code(getattr(importlib.import_module(ENTRIES[name]), name))
    kept.write(name, _key(), symbol, code)
    return symbol, code


@functools.lru_cache(maxsize=1)
def _announce() -> None:
    folder = kept.directory()
    nowhere = "for this process only, as there is no folder to keep them in (NUMBA_CACHE_DIR names one)"
    where = f"kept in {folder}" if folder else nowhere
    logger.warning("minidistil compiles its kernels for this CPU (%s); some seconds, once, %s", cpu()[0], where)


def _object_code(dispatcher: Any) -> tuple[str, bytes]:
    """Symbol and object code of a Numba function of three int64."""
    machine = _machine()
    symbol, module = closed_module(dispatcher, machine)
    return symbol, machine.emit_object(module)


def closed_module(dispatcher: Any, machine: Any) -> tuple[str, Any]:
    """Symbol and LLVM module of a Numba function of three int64, without the parts that call back into Python.

    Whatever floating-point mode its caller is in, the code runs in the default one.

    `machine` is LLVM's code generator, of this CPU or of another kind.
    """
    from llvmlite import binding
    from numba import types

    signature = (types.int64,) * 3
    dispatcher.compile(signature)
    result = dispatcher.overloads[signature]
    symbol = result.fndesc.llvm_func_name
    module = binding.parse_assembly(result.library.get_llvm_str())
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    run_in_default_mode(module, symbol)
    for function in module.functions:
        if not function.is_declaration and function.name != symbol:
            function.linkage = binding.Linkage.internal
    passes = binding.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=2)))
    foreign = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    if not set(foreign) <= set(_ALLOWED):
        raise Unavailable(f"Numba made code that calls {sorted(set(foreign) - set(_ALLOWED))}; is NUMBA_OPT set to 0?")
    return symbol, module


def _machine() -> Any:
    """LLVM's code generator for the CPU, as Numba sets it up for code that is run where it was made."""
    from llvmlite import binding

    name, features = cpu()
    triple = binding.get_process_triple()
    reloc = "static" if triple.startswith("x86") else "default"
    options = {"cpu": name, "features": features, "opt": 3, "reloc": reloc, "codemodel": "jitdefault"}
    return binding.Target.from_triple(triple).create_target_machine(**options)


@functools.lru_cache(maxsize=1)
def _linker() -> Any:
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    module = binding.parse_assembly(f'target triple = "{binding.get_process_triple()}"')
    return binding.create_mcjit_compiler(module, _machine())


# A Numba function returns a status and takes the addresses of its result and of an exception before its arguments.
_PROTOTYPE = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64
)


def _function(symbol: str, code: bytes) -> Entry:
    from llvmlite import binding

    linker = _linker()
    linker.add_object_file(binding.ObjectFileRef.from_data(code))
    linker.finalize_object()
    native = _PROTOTYPE(linker.get_function_address(symbol))

    def call(address: int, thread: int, threads: int) -> bool:
        result, exception = ctypes.c_int64(), ctypes.c_void_p()
        if native(ctypes.addressof(result), ctypes.addressof(exception), address, thread, threads) != 0:
            raise RuntimeError(f"the kernel {symbol} failed")
        return bool(result.value & 1)

    return call
