"""Machine code for CPUs that are not here, and a look into it.

    python -m tests.machines.cross NAME FILE

makes a library as build_backend/libraries.py does, and leaves the assembly of its entries beside it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llvmlite import binding, ir

from build_backend import libraries
from minidistil.kernels.code.target import Tile
from minidistil.kernels.products.int8_dots import Dots

AARCH64 = "aarch64-unknown-linux-gnu"
X86_64 = "x86_64-unknown-linux-gnu"
AVX2 = "+avx2,+fma,+bmi,+bmi2,+f16c"


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


def int8_assembly(kinds: dict[int, Dots], code_generator: Any, features: str = "") -> dict[int, str]:
    """Assembly of the tiles of whole numbers, by the kind of their sums."""
    from minidistil.kernels.products.int8_tile import NAME, tile_module

    assembly = code_generator.emit_assembly(tile_module(kinds, code_generator, features))
    _, *parts = re.split(rf'^"?{re.escape(NAME)}(?:\.(\d))?"?:', assembly, flags=re.MULTILINE)
    return {int(kind): text for kind, text in zip(parts[::2], parts[1::2], strict=True) if kind}


_LABEL = re.compile(r"^(\.L\w+):")
_BRANCH = re.compile(r"^(?:b\.\w+|b|cbn?z\s+\w+,|tbn?z\s+\w+, #\d+,|j\w+)\s+(\.L\w+)")


def loops(assembly: str, exits: int = 0) -> Iterator[list[str]]:
    """The instructions of every loop that is one straight line, but for so many ways out of it."""
    label, left, body = "", 0, []
    for line in map(str.strip, assembly.splitlines()):
        if found := _LABEL.match(line):
            label, left, body = found[1], 0, []
        elif line and line[0] not in "./#@" and not line.endswith(":"):
            body.append(line)
            if found := _BRANCH.match(line):
                if found[1] != label and left < exits:
                    left += 1
                    continue
                if found[1] == label and left == exits:
                    yield body
                label, left, body = "", 0, []


def inner_loop(assembly: str, tile: Tile, bf16: bool = False) -> list[str]:
    """The loop over k of the largest tile: it reads, and has as many multiply-adds as accumulators times steps.

    bf16: the one that reads bfloat16; where it takes two k in a turn, it may be left between them.
    """
    pairs = bf16 and tile.step != tile.lanes
    wanted = tile.rows * tile.vectors * (2 if pairs else tile.step)
    reading = [loop for loop in loops(assembly, int(pairs)) if any(re.search(r"\[x|\(%", line) for line in loop)]
    found = [loop for loop in reading if len(multiply_adds(loop)) == wanted and bool(shifts(loop)) == bf16]
    assert len(found) == 1, f"{len(found)} loops with {wanted} multiply-adds"
    return found[0]


def multiply_adds(loop: list[str]) -> list[str]:
    return [line for line in loop if line.startswith(("fmla", "vfmadd"))]


def shifts(loop: list[str]) -> list[str]:
    """What makes a float32 of the lower half of a word."""
    return [line for line in loop if line.startswith(("shl", "vpslld"))]


def calls(assembly: str) -> set[str]:
    """Names outside the file that AArch64 code calls."""
    defined = set(re.findall(r"^([^\s.:][^\s:]*):", assembly, re.MULTILINE))
    return set(re.findall(r"^\s+bl?\s+([A-Za-z_][^\s]*)$", assembly, re.MULTILINE)) - defined


def main(name: str, library: Path) -> None:
    machine, made = libraries.modules(name)
    libraries.link(machine, made, library)
    for symbol, module in made.items():
        library.with_name(f"{symbol}.s").write_text(machine.emit_assembly(module))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
