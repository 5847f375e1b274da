"""Which vector unit kernels are compiled for, and the register tile that fills it."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import NamedTuple

from minidistil._loading import loading

# A product with fused rounding is what every kernel rests on; LLVM shows what it makes of one.
_PROBE = """
target triple = "{triple}"
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
define void @probe(ptr %p, ptr %q) {{
  %x = load <16 x float>, ptr %p, align 4
  %y = load <16 x float>, ptr %q, align 4
  %z = call <16 x float> @llvm.fma.v16f32(<16 x float> %x, <16 x float> %y, <16 x float> %x)
  store <16 x float> %z, ptr %p, align 4
  ret void
}}
"""


class Tile(NamedTuple):
    """The register tile of the matrix product: rows x (vectors * lanes), `step` of k in a turn of its loop.

    Where `step` is `lanes`, the rows of A are read in vectors, and sums multiply by a lane of them.
    """

    lanes: int
    rows: int
    vectors: int
    step: int

    @property
    def sliver(self) -> int:
        """Its columns: how packed weights are cut (layout.pack)."""
        return self.vectors * self.lanes


@dataclass(frozen=True)
class Target:
    """The CPU as kernels see it.

    Attributes:
        name: LLVM's name of the CPU.
        lanes: float32 lanes of one vector register (16 AVX-512, 8 AVX2, 4 NEON); 0 without hardware FMA.
    """

    name: str
    lanes: int

    @property
    def tile(self) -> Tile:
        """The largest register tile."""
        return TILES.get(self.lanes, Tile(4, 1, 1, 1))


# Accumulators, the panel's vectors and one broadcast together fit the 32 or 16 registers. Measured on Zen 4, one core,
# fraction of FMA peak at K = 768 and 3072: 8 x 48 97 %, 6 x 64 97 %, 12 x 32 95 %; with ymm 4 x 24 94 %, 6 x 16 90 %.
# NEON: by counting instructions (docs/cpus.md); never run on such a CPU.
TILES = {16: Tile(16, 8, 3, 1), 8: Tile(8, 4, 3, 4), 4: Tile(4, 7, 3, 4)}


class Unavailable(RuntimeError):
    """There is no machine code here, and none can be made; the message says why."""


def sliver() -> int:
    """Columns of a sliver of packed weights in the code for this CPU: who packs or reads them asks here.

    Raises:
        Unavailable: there is no compiler, and so no code.
    """
    with loading():
        try:
            return target().tile.sliver
        except ModuleNotFoundError as error:
            raise Unavailable(f"{error.name} is not installed") from None


@functools.lru_cache(maxsize=1)
def target() -> Target:
    """The target that code is made for (NUMBA_CPU_NAME and NUMBA_CPU_FEATURES included), found without Numba."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    triple, (name, features) = binding.get_process_triple(), cpu()
    machine = binding.Target.from_triple(triple).create_target_machine(cpu=name, features=features, opt=2)
    assembly = machine.emit_assembly(binding.parse_assembly(_PROBE.format(triple=triple)))
    if "vfmadd" in assembly:
        lanes = 16 if "zmm" in assembly else 8 if "ymm" in assembly else 0
    else:
        lanes = 4 if "fmla" in assembly else 0
    return Target(name, lanes)


def cpu() -> tuple[str, str]:
    """LLVM's name and features of the CPU to make code for: the host's, or what NUMBA_CPU_NAME and _FEATURES say."""
    from llvmlite import binding

    name = os.environ.get("NUMBA_CPU_NAME") or binding.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        features = "" if name == "generic" else binding.get_host_cpu_features().flatten()
    return name, features
