"""Which vector unit the machine code is for, and the register tile that fills it. Imports no compiler by itself."""

from __future__ import annotations

import functools
import os
import sys
from typing import Any, NamedTuple

from minidistil._loading import loading
from minidistil.kernels import layout
from minidistil.kernels.code import shipped

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


class Target(NamedTuple):
    """The CPU as kernels see it.

    Attributes:
        name: LLVM's name of the CPU, or the shipped library's.
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

# The instructions of DOT_NATIVE by lanes, as Linux calls them and as LLVM does; code for eight lanes has AVX_VNNI's.
_NATIVE = {16: ("avx512_vnni", "avx512vnni"), 8: ("avx_vnni", "avxvnni"), 4: ("asimddp", "dotprod")}


def sliver() -> int:
    """Columns of a sliver of packed weights in the code for this CPU: who packs or reads them asks here.

    Raises:
        Unavailable: as `target`.
    """
    return target().tile.sliver


def dot() -> int:
    """How this CPU, in the code that runs here, multiplies whole numbers: one of layout.DOT_EXACT and so on.

    Raises:
        Unavailable: as `target`.
    """
    lanes = target().lanes
    flag, feature = _NATIVE.get(lanes, ("", ""))
    if flag in shipped.flags() or (sys.platform != "linux" and _llvm_finds(feature)):
        return layout.DOT_NATIVE
    return layout.DOT_PAIRS if lanes > 4 else layout.DOT_EXACT


def _llvm_finds(feature: str) -> bool:
    """Whether this CPU has something, by LLVM: there are no libraries for such a system, so it is here."""
    with shipped.compiler():
        from llvmlite import binding

        return bool(binding.get_host_cpu_features().get(feature))


@functools.lru_cache(maxsize=1)
def target() -> Target:
    """The target of the machine code that runs in this process, found without Numba.

    Raises:
        Unavailable: no library serves, and there is no compiler.
    """
    library = shipped.choice().library
    if library is not None:
        return Target(library.name, library.lanes)
    with loading():
        return compiler_target()


@functools.lru_cache(maxsize=1)
def compiler_target() -> Target:
    """The target that kernels are compiled for here, NUMBA_CPU_NAME and NUMBA_CPU_FEATURES included."""
    with shipped.compiler():
        from llvmlite import binding

        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        triple, (name, features) = binding.get_process_triple(), cpu()
        machine = binding.Target.from_triple(triple).create_target_machine(cpu=name, features=features, opt=2)
        return Target(name, lanes_of(machine))


def lanes_of(machine: Any) -> int:
    """Lanes of the vectors that an LLVM code generator multiplies and adds at once; 0 where it does so in two steps."""
    from llvmlite import binding

    assembly = machine.emit_assembly(binding.parse_assembly(_PROBE.format(triple=machine.triple)))
    if "vfmadd" in assembly:
        return 16 if "zmm" in assembly else 8 if "ymm" in assembly else 0
    return 4 if "fmla" in assembly else 0


def cpu() -> tuple[str, str]:
    """LLVM's name and features of the CPU to make code for: the host's, or what NUMBA_CPU_NAME and _FEATURES say."""
    from llvmlite import binding

    name = os.environ.get("NUMBA_CPU_NAME") or binding.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        features = "" if name == "generic" else binding.get_host_cpu_features().flatten()
    return name, features
