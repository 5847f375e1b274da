"""Libraries of the kernels' machine code, for a wheel.

    python -m build_backend.libraries NAME FILE

makes the library NAME of `kernels/code/shipped.py`; `build` does so for all of a machine, each in a process of its own:
the register tile is chosen when kernels are imported, and Numba is told before it is imported what it compiles for.

A library is position independent, without text relocations or an executable stack, bound when it is loaded, and exports
its entries and nothing else. It names no other library: what it calls of the C library is in every process. The same
sources and tools make the same bytes.

A linker of binutils for the machine (Debian: `binutils`, `binutils-aarch64-linux-gnu`) or `ld.lld` must be there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Recipe(NamedTuple):
    """What LLVM makes a library for."""

    triple: str
    cpu: str
    features: str = ""


RECIPES = {
    "x86-64-v4": Recipe("x86_64-unknown-linux-gnu", "x86-64-v4", "-prefer-256-bit"),
    "x86-64-v3": Recipe("x86_64-unknown-linux-gnu", "x86-64-v3"),
    "aarch64": Recipe("aarch64-unknown-linux-gnu", "generic"),
}

_OPTIONS = "-shared -z now -z relro -z noexecstack -z text --build-id=none --hash-style=gnu --strip-all".split()
_EMULATIONS = {"x86_64": "elf_x86_64", "aarch64": "aarch64linux"}  # for a linker of many machines


def names(machine: str) -> list[str]:
    """The libraries that a machine's wheel carries.

    Raises:
        ValueError: there are none for such a machine.
    """
    found = [name for name, recipe in RECIPES.items() if recipe.triple.startswith(f"{machine}-")]
    if not found:
        machines = sorted({recipe.triple.partition("-")[0] for recipe in RECIPES.values()})
        raise ValueError(f"machine code can be made for {machines}, got {machine!r}")
    return found


def build(machine: str, folder: Path) -> list[Path]:
    """Make all libraries of a machine, in a folder."""
    return [make_apart(name, folder / f"{name}.so") for name in names(machine)]


def make_apart(name: str, path: Path, program: str = "build_backend.libraries") -> Path:
    """Make one library in a process of its own, which runs `program NAME FILE`."""
    recipe = RECIPES[name]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA_", "MINIDISTIL_"))}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    if recipe.triple.startswith(f"{os.uname().machine}-"):
        environment |= {"NUMBA_CPU_NAME": recipe.cpu, "NUMBA_CPU_FEATURES": recipe.features}
    else:
        # Numba holds back, so that little is decided for this machine before the other's code generator sees the code.
        environment |= {"NUMBA_OPT": "1", "NUMBA_LOOP_VECTORIZE": "0"}
    command = [sys.executable, "-m", program, name, str(path.resolve())]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"the library {name} could not be made (status {done.returncode}):\n{done.stderr}")
    return path


def modules(name: str) -> tuple[Any, dict[str, Any]]:
    """LLVM's code generator for a library, and a module for each of its entries; once in a process.

    Raises:
        RuntimeError: this is no Linux, or kernels were imported before.
    """
    if sys.platform != "linux":
        raise RuntimeError("libraries are made on Linux, whose C library they call")  # kernels/steps/team.py
    if "minidistil.kernels.products.tile" in sys.modules:
        raise RuntimeError("kernels have been imported, with the register tile of another CPU")
    from minidistil.kernels.code import emit, shipped, target

    recipe, lanes = RECIPES[name], shipped.KINDS[name].lanes
    machine = emit.any_machine(*recipe)
    if target.lanes_of(machine) != lanes:
        raise RuntimeError(f"LLVM makes no code of {lanes} lanes for {name}")
    made_for = target.Target(name, lanes)
    target.compiler_target = lambda: made_for  # type: ignore[assignment]
    made = {}
    for entry in emit.ENTRIES:
        symbol = shipped.ENTRY_PREFIX + entry
        made[symbol] = emit.closed_module(emit.dispatcher_of(entry), symbol, machine, recipe.features)
    return machine, made


def link(machine: Any, made: dict[str, Any], path: Path) -> None:
    """Make a library of modules, as `modules` gives them."""
    from minidistil.kernels.code import shipped

    with tempfile.TemporaryDirectory() as temporary:
        folder, objects = Path(temporary), []
        for symbol, module in made.items():
            objects.append(folder / f"{symbol}.o")
            objects[-1].write_bytes(machine.emit_object(module))
        exported, library = folder / "exported", folder / "library"
        exported.write_text(f"{{ global: {' '.join(f'{symbol};' for symbol in made)} local: *; }};\n")
        command = [*linker(machine.triple), *_OPTIONS, f"--version-script={exported}", "-o", library, *objects]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} failed:\n{done.stderr}")
        path.write_bytes(shipped.stamped(library.read_bytes(), shipped.sources().encode()))


def linker(triple: str) -> list[str]:
    """The command of a linker for a machine, without its options.

    Raises:
        RuntimeError: there is none.
    """
    machine = triple.partition("-")[0]
    own = ["ld"] if machine == os.uname().machine else []
    for name in (f"{machine}-linux-gnu-ld", *own, "ld.lld"):
        if found := shutil.which(name):
            return [found, "-m", _EMULATIONS[machine]]
    raise RuntimeError(f"a linker for {machine} is needed: {machine}-linux-gnu-ld of binutils, or ld.lld")


if __name__ == "__main__":
    link(*modules(sys.argv[1]), Path(sys.argv[2]))
