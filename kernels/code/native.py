"""Machine code of the entries: shipped, or compiled once with Numba and kept as object files; called without Numba.

A library that came with the package needs no compiler at all (shipped.py). Loading a kept entry takes milliseconds and
llvmlite. Numba, whose import alone takes longer than a whole first result should, is imported where something must be
compiled. A call releases the GIL.

Code is kept (kept.py) under a digest of everything that it follows from: the sources of all kernels, the CPU and its
features, llvmlite. So nothing stale is ever found, and nothing needs to be thrown out.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
from collections.abc import Callable
from typing import Any

from minidistil._loading import loading
from minidistil.kernels.code import emit, kept, shipped
from minidistil.kernels.code.shipped import Unavailable
from minidistil.kernels.code.target import compiler_target, cpu, target

__all__ = ("ENTRIES", "FIRST", "Entry", "Unavailable", "description", "entry")

logger = logging.getLogger("minidistil")

ENTRIES = emit.ENTRIES
FIRST = next(iter(ENTRIES))
"""The entry that everybody needs; another is compiled by who asks for it."""

Entry = Callable[[int, int, int], bool]
"""Takes the address of a call (steps/table.py), a thread's number and the team's size; False where the team gave up."""

_entries: dict[str, Entry] = {}


def entry(name: str) -> Entry:
    """An entry by its name: of a library, from its object file, or compiled now.

    Raises:
        Unavailable: the CPU that code is compiled for has no fused multiply-add of vectors; or there is no code, and
            Numba is missing; or MINIDISTIL_KERNELS asks for what cannot be.
        ValueError: MINIDISTIL_KERNELS asks for what there is not.
    """
    if name in _entries:
        return _entries[name]
    with loading():
        if name not in _entries:
            library = shipped.choice().library
            if library is not None:
                _entries[name] = _entry(name, library.address(shipped.ENTRY_PREFIX + name))
            else:
                with shipped.compiler():
                    _entries[name] = _function(*(kept.read(name, _key()) or _compile(name)))
        return _entries[name]


def description() -> str:
    """Which code runs here, and why, for people; it finds out, but compiles nothing."""
    try:
        library, why = shipped.choice()
        name, lanes = target()
    except Unavailable as error:
        return f"none: {error}"
    if not lanes:
        return f"none: {name} has no fused multiply-add of vectors"
    return f"compiled for {name}: {why}" if library is None else f"{library.name}: {why}"


@functools.lru_cache(maxsize=1)
def _key() -> str:
    import llvmlite

    return hashlib.blake2b(
        "\0".join((shipped.sources(), *cpu(), llvmlite.__version__)).encode(), digest_size=12
    ).hexdigest()


def _compile(name: str) -> tuple[str, bytes]:
    """Compile an entry with Numba and keep its object code where that is possible."""
    made_for = compiler_target()
    if not made_for.lanes:
        raise Unavailable(
            f"the CPU that code is compiled for ({made_for.name}) has no fused multiply-add of vectors, without which "
            "the kernels would be slow and lean on the C library's arithmetic"
        )
    import numba  # noqa: F401 where it is missing, nothing is announced

    _announce(name)
    symbol, code = emit.object_code(name, _tell)
    kept.write(name, _key(), symbol, code)
    return symbol, code


@functools.cache
def _announce(name: str) -> None:
    folder = kept.directory()
    nowhere = "for this process only, as there is no folder to keep them in (NUMBA_CACHE_DIR names one)"
    where = f"kept in {folder}" if folder else nowhere
    logger.warning(
        "minidistil compiles its kernels%s for this CPU (%s), as %s; %s, once, %s",
        "" if name == FIRST else " for training",
        cpu()[0],
        shipped.choice().why,
        "some seconds" if name == FIRST else "half a minute or so",
        where,
    )


def _tell(done: int, of: int) -> None:
    """Say how far compiling is; `compiled` of the record is for programs that show it."""
    logger.info("%d of %d kernels are compiled", done, of, extra={"compiled": (done, of)})


@functools.lru_cache(maxsize=1)
def _linker() -> Any:
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    module = binding.parse_assembly(f'target triple = "{binding.get_process_triple()}"')
    return binding.create_mcjit_compiler(module, emit.this_machine())


def _function(symbol: str, code: bytes) -> Entry:
    from llvmlite import binding

    linker = _linker()
    linker.add_object_file(binding.ObjectFileRef.from_data(code))
    linker.finalize_object()
    return _entry(symbol, linker.get_function_address(symbol))


# A Numba function returns a status and takes the addresses of its result and of an exception before its arguments.
_PROTOTYPE = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64
)


def _entry(symbol: str, address: int) -> Entry:
    native = _PROTOTYPE(address)

    def call(address: int, thread: int, threads: int) -> bool:
        result, exception = ctypes.c_int64(), ctypes.c_void_p()
        if native(ctypes.addressof(result), ctypes.addressof(exception), address, thread, threads) != 0:
            raise RuntimeError(f"the kernel {symbol} failed")
        return bool(result.value & 1)

    return call
