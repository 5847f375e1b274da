"""What LLVM makes of the register tile for 64-bit x86; its bits are tested in tests/engine/test_machines.py."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from llvmlite import binding

from minidistil.kernels.code.emit import any_machine
from minidistil.kernels.code.target import TILES
from tests.machines import cross

AVX512 = "+avx512f,+avx512vl,+avx512dq,+avx512bw"


@pytest.mark.parametrize(("cpu", "lanes"), [("haswell", 8), ("znver4", 16)])
def test_c_is_fetched_early(cpu: str, lanes: int) -> None:
    """The two ends of each row, in every shape: of 1 to 4 or 8 rows, of 3 numbers of vectors each, and of bfloat16."""
    tile = TILES[lanes]
    fetches = cross.tile_assembly(tile, any_machine(cross.X86_64, cpu, "-prefer-256-bit")).count("prefetcht0")
    assert fetches == (tile.vectors + 1) * sum(range(tile.rows + 1)) * 2


every_cpu = pytest.mark.parametrize(
    ("cpu", "features", "lanes", "register"),
    [
        ("haswell", "", 8, "ymm"),
        ("znver3", "", 8, "ymm"),
        ("x86-64-v3", "", 8, "ymm"),
        ("x86-64", cross.AVX2, 8, "ymm"),
        ("skylake-avx512", "-prefer-256-bit", 16, "zmm"),
        ("x86-64-v4", "-prefer-256-bit", 16, "zmm"),
        ("znver4", "-prefer-256-bit", 16, "zmm"),
    ],
)


def needs_the_target() -> None:
    binding.initialize_all_targets()
    try:
        binding.Target.from_triple(cross.X86_64)
    except RuntimeError:
        pytest.skip("this llvmlite was built without the x86-64 code generator")


@every_cpu
def test_the_tile_fits_the_registers(cpu: str, features: str, lanes: int, register: str) -> None:
    needs_the_target()
    tile = TILES[lanes]
    loop = cross.inner_loop(cross.tile_assembly(tile, any_machine(cross.X86_64, cpu, features)), tile)
    sums = cross.multiply_adds(loop)
    accumulators = Counter(re.findall(rf"%{register}\d+$", line)[0] for line in sums)
    assert len(accumulators) == tile.rows * tile.vectors, "every accumulator has its register"
    assert set(accumulators.values()) == {tile.step}
    assert not [line for line in loop if "%rsp" in line], "no register goes to the stack"
    moves = [line for line in loop if re.match(r"v?mov[au]p", line)]
    assert len(moves) <= tile.vectors * tile.step
    assert all("(" in line for line in moves), "loads of B, and no copies"
    assert sum(line.startswith("vbroadcastss") or "{1to" in line for line in loop) >= tile.rows * tile.step
    fetches = Counter(line.split()[0] for line in loop if line.startswith("prefetch"))
    lines = 3 if lanes == 16 else 1
    assert fetches == {"prefetcht1": lines * tile.step}, "what comes after B, and nothing of B"
    assert len(loop) <= (2.1 if lanes == 16 else 1.8) * len(sums)


@every_cpu
def test_bfloat16_takes_one_instruction_a_vector(cpu: str, features: str, lanes: int, register: str) -> None:
    """Two where memory is no operand of a shift; and no register goes to the stack for it, no sum waits for one."""
    needs_the_target()
    tile = TILES[lanes]
    loop = cross.inner_loop(cross.tile_assembly(tile, any_machine(cross.X86_64, cpu, features)), tile, bf16=True)
    sums = cross.multiply_adds(loop)
    assert len({re.findall(rf"%{register}\d+$", line)[0] for line in sums}) == tile.rows * tile.vectors
    assert not [line for line in loop if "%rsp" in line], "no register goes to the stack"
    assert len(cross.shifts(loop)) == tile.vectors
    upper = [line for line in loop if line.startswith(("vand", "vpand", "vpblendw"))]
    assert len(upper) == tile.vectors
    assert all("(" in line for line in upper), "of memory"
    moves = [line for line in loop if re.match(r"v?mov(ap|up|dq)", line)]
    assert len(moves) == (0 if lanes == 16 else tile.vectors)
    assert all("(" in line for line in moves), "loads of B, and no copies"
    lines = 2 if lanes == 16 else 1
    assert Counter(line.split()[0] for line in loop if line.startswith("prefetch")) == {"prefetcht1": 2 * lines}
    assert len(loop) <= (1.9 if lanes == 16 else 2.2) * len(sums)
