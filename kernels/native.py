"""Machine code of the entries: compiled once with Numba, kept as object files, called without Numba.

Loading a kept entry takes milliseconds and needs llvmlite only; Numba, whose import alone takes longer than a whole
first result should, is imported where something must be compiled. A call releases the GIL.

The file's name is a digest of everything that the code follows from: the sources of this folder, the CPU and its
features, llvmlite. So nothing stale is ever found, and nothing needs to be thrown out.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minidistil.kernels.float_mode import run_in_default_mode
from minidistil.kernels.loading import loading

logger = logging.getLogger("minidistil")

NAMES = ("encode", "encode_mobile_bert", "score_vocabulary", "linear", "layer_norm", "activate", "pack", "roof")
"""The entries, functions of kernels/entries.py."""

Entry = Callable[[int, int, int], bool]
"""Takes the address of a call (layout.py), the thread's number and the team's size; False where the team gave up."""

_FOLDER = Path(__file__).resolve().parent
# Of the C library; the kernels need no other.
_ALLOWED = ("sched_yield", "SwitchToThread", "clock_gettime", "memcpy", "memset", "memmove")
_entries: dict[str, Entry] = {}


class Unavailable(RuntimeError):
    """There is no machine code here, and none can be made; the message says why."""


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
                _entries[name] = _function(*(_read(name) or _compile(name)))
            return _entries[name]
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] not in ("numba", "llvmlite"):
                raise
            raise Unavailable(f"{error.name} is not installed") from None


def is_kept(name: str) -> bool:
    """Whether an entry's machine code is on disk."""
    return _read(name) is not None


@functools.lru_cache(maxsize=1)
def cache_directory() -> Path | None:
    """The folder that new object files go to, the first of `_folders` that can be written; or None."""
    for folder in _folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError:
            continue
        return folder
    return None


@functools.lru_cache(maxsize=1)
def _key() -> str:
    import llvmlite

    digest = hashlib.blake2b(digest_size=12)
    for path in sorted(_FOLDER.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    digest.update("\0".join((*cpu(), llvmlite.__version__)).encode())
    return digest.hexdigest()


def cpu() -> tuple[str, str]:
    """LLVM's name and features of the CPU to make code for: the host's, or what NUMBA_CPU_NAME and _FEATURES say."""
    from llvmlite import binding

    name = os.environ.get("NUMBA_CPU_NAME") or binding.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        features = "" if name == "generic" else binding.get_host_cpu_features().flatten()
    return name, features


def _folders() -> list[Path]:
    """Where object files may lie: NUMBA_CACHE_DIR, or else beside the sources and in the user's cache."""
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        return [Path(chosen) / "minidistil"]
    folders = [_FOLDER / "__pycache__"]
    if base := os.environ.get("XDG_CACHE_HOME"):
        folders.append(Path(base, "minidistil"))
    else:
        with contextlib.suppress(RuntimeError):  # a user without a home
            folders.append(Path.home() / ".cache" / "minidistil")
    return folders


def _read(name: str) -> tuple[str, bytes] | None:
    """Symbol and object code of a kept entry; None where there is none, or it is damaged.

    Whether the folder can be written does not matter: images that are made once are often run read-only.
    """
    for folder in _folders():
        try:
            line, _, code = (folder / _file(name)).read_bytes().partition(b"\n")
            head = json.loads(line)
            if head["digest"] == hashlib.blake2b(code).hexdigest():
                return head["symbol"], code
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _file(name: str) -> str:
    return f"{name}-{_key()}.o"


def _compile(name: str) -> tuple[str, bytes]:
    """Compile an entry with Numba and keep its object code where that is possible."""
    from minidistil.kernels._target import target

    if not target().lanes:
        raise Unavailable(
            f"the CPU that code is compiled for ({target().name}) has no fused multiply-add of vectors, without which "
            "the kernels would be slow and lean on the C library's arithmetic"
        )
    _announce()
    from minidistil.kernels import entries

    symbol, code = _object_code(getattr(entries, name))
    folder = cache_directory()
    if folder is not None:
        head = json.dumps({"symbol": symbol, "digest": hashlib.blake2b(code).hexdigest()})
        try:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{name}-", delete=False) as file:
                file.write(head.encode() + b"\n" + code)
            Path(file.name).chmod(0o644)
            Path(file.name).replace(folder / _file(name))  # two processes that compile at once both leave a whole file
        except OSError as error:
            logger.info("compiled kernels cannot be kept: %s", error)
    return symbol, code


@functools.lru_cache(maxsize=1)
def _announce() -> None:
    folder = cache_directory()
    kept = f"kept in {folder}" if folder else "for this process only, as no folder for it can be written"
    logger.warning("minidistil compiles its kernels for this CPU (%s); some seconds, once, %s", cpu()[0], kept)


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
