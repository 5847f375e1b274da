"""Machine code for CPUs that are not here, and a look into it.

    NUMBA_OPT=1 NUMBA_LOOP_VECTORIZE=0 python -m tests.machines.cross FOLDER CPU

writes the entries as Numba and LLVM would make them on a 64-bit ARM machine: NAME.o, NAME.s and symbols.json. A process
of its own, because the register tile is chosen once; and Numba holds back, so that little is decided for the machine at
hand before the other's code generator sees the code.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from llvmlite import binding, ir

from minidistil.kernels.code import target
from minidistil.kernels.code.target import TILES, Target, Tile

AARCH64 = "aarch64-unknown-linux-gnu"
X86_64 = "x86_64-unknown-linux-gnu"
AVX2 = "+avx2,+fma,+bmi,+bmi2,+f16c"


def machine(triple: str, cpu: str, features: str = "") -> Any:
    """LLVM's code generator for a CPU."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    options = {"cpu": cpu, "features": features, "opt": 3, "reloc": "pic", "codemodel": "small"}
    return binding.Target.from_triple(triple).create_target_machine(**options)


def tile_assembly(tile: Tile, code_generator: Any) -> str:
    """Assembly of the register tile in all its shapes up to `tile`."""
    from minidistil.kernels.products.tile import tile_function

    code = ir.Module("tile")
    tile_function(code, tile).linkage = "external"
    module = binding.parse_assembly(str(code))
    module.triple, module.data_layout = code_generator.triple, str(code_generator.target_data)
    tuning = binding.create_pipeline_tuning_options(speed_level=2)
    binding.create_new_module_pass_manager().run(module, binding.create_pass_builder(code_generator, tuning))
    return code_generator.emit_assembly(module)


_LABEL = re.compile(r"^(\.L\w+):")
_BRANCH = re.compile(r"^(?:b\.\w+|b|cbn?z\s+\w+,|tbn?z\s+\w+, #\d+,|j\w+)\s+(\.L\w+)")


def loops(assembly: str) -> Iterator[list[str]]:
    """The instructions of every loop that is one straight line."""
    label, body = "", []
    for line in map(str.strip, assembly.splitlines()):
        if found := _LABEL.match(line):
            label, body = found[1], []
        elif line and line[0] not in "./#@" and not line.endswith(":"):
            body.append(line)
            if found := _BRANCH.match(line):
                if found[1] == label:
                    yield body
                label, body = "", []


def inner_loop(assembly: str, tile: Tile) -> list[str]:
    """The loop over k of the largest tile: it reads, and has as many multiply-adds as accumulators times steps."""
    wanted = tile.rows * tile.vectors * tile.step
    reading = [loop for loop in loops(assembly) if any(re.search(r"\[x|\(%", line) for line in loop)]
    found = [loop for loop in reading if len(multiply_adds(loop)) == wanted]
    assert len(found) == 1, f"{len(found)} loops with {wanted} multiply-adds"
    return found[0]


def multiply_adds(loop: list[str]) -> list[str]:
    return [line for line in loop if line.startswith(("fmla", "vfmadd"))]


def calls(assembly: str) -> set[str]:
    """Names outside the file that AArch64 code calls."""
    defined = set(re.findall(r"^([^\s.:][^\s:]*):", assembly, re.MULTILINE))
    return set(re.findall(r"^\s+bl?\s+([A-Za-z_][^\s]*)$", assembly, re.MULTILINE)) - defined


def main(folder: Path, cpu: str) -> None:
    # Before any kernel is imported: they read the tile when they are.
    target.target = lambda: Target(cpu, TILES[4].lanes)  # type: ignore[assignment]
    from minidistil.kernels.code import native

    code_generator, symbols = machine(AARCH64, cpu), {}
    for name in native.ENTRIES:
        symbols[name], module = native.closed_module(getattr(import_module(native.ENTRIES[name]), name), code_generator)
        (folder / f"{name}.o").write_bytes(code_generator.emit_object(module))
        (folder / f"{name}.s").write_text(code_generator.emit_assembly(module))
    (folder / "symbols.json").write_text(json.dumps(symbols))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
