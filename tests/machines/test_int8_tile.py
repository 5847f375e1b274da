"""The tiles of whole numbers for CPUs that are not here: what LLVM makes of them, and their sums by the definition."""

from __future__ import annotations

import ctypes
import functools
import re
from collections import Counter

import numpy as np
import pytest
from llvmlite import binding

from minidistil.backends.reference import int8
from minidistil.kernels import layout
from minidistil.kernels.code import emit
from minidistil.kernels.layout import DOT_EXACT, DOT_NATIVE, DOT_PAIRS, address
from minidistil.kernels.products.int8_dots import DOTS, UNKNOWN, Dots, definition
from minidistil.kernels.products.int8_tile import NAME, tile_module
from minidistil.weights.narrow import Int8Linear
from tests.bits import assert_same_bits
from tests.kernels import test_int8, whole_numbers
from tests.kernels.values import normal
from tests.machines import cross

WIDE = "-prefer-256-bit"

# What multiplies in a turn of the loop of the largest tile; on CPUs with VNNI, LLVM itself makes one instruction of a
# vpmaddwd and the sum after it, of as many of them as it thinks best.
CODE = [
    ("znver4", WIDE, 16, DOT_NATIVE, {"vpdpbusd": 24}),
    ("sapphirerapids", WIDE, 16, DOT_NATIVE, {"vpdpbusd": 24}),
    ("x86-64-v4", WIDE, 16, DOT_NATIVE, {"vpdpbusd": 24}),
    ("x86-64-v4", WIDE, 16, DOT_PAIRS, {"vpmaddubsw": 24, "vpmaddwd": 24, "vpaddd": 24}),
    ("x86-64-v4", WIDE, 16, DOT_EXACT, {"vpmaddwd": 36, "vpaddd": 36}),
    ("znver4", WIDE, 16, DOT_PAIRS, {"vpmaddubsw": 24, "vpdpwssd": 24}),
    ("alderlake", "", 8, DOT_NATIVE, {"{vex} vpdpbusd": 12}),
    ("sierraforest", "", 8, DOT_NATIVE, {"{vex} vpdpbusd": 12}),
    ("x86-64-v3", "", 8, DOT_NATIVE, {"{vex} vpdpbusd": 12}),
    ("haswell", "", 8, DOT_NATIVE, {"{vex} vpdpbusd": 12}),
    ("haswell", "", 8, DOT_PAIRS, {"vpmaddubsw": 8, "vpmaddwd": 8, "vpaddd": 8}),
    ("haswell", "", 8, DOT_EXACT, {"vpmaddwd": 16, "vpaddd": 16}),
    ("x86-64-v3", "", 8, DOT_PAIRS, {"vpmaddubsw": 8, "vpmaddwd": 8, "vpaddd": 8}),
    *((cpu, "", 4, DOT_NATIVE, {"sdot": 84}) for cpu in ("generic", "neoverse-n1", "neoverse-v2", "apple-m1")),
    *((cpu, "", 4, DOT_EXACT, {"smull": 32, "smull2": 32, "sadalp": 64}) for cpu in ("generic", "neoverse-n1")),
]


def generator(cpu: str, features: str, lanes: int) -> object:
    triple = cross.AARCH64 if lanes == 4 else cross.X86_64
    binding.initialize_all_targets()
    try:
        binding.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip(f"this llvmlite was built without the code generator for {triple}")
    return emit.any_machine(triple, cpu, features)


@functools.cache
def assembly(cpu: str, features: str, lanes: int) -> dict[int, str]:
    return cross.int8_assembly(DOTS[lanes], generator(cpu, features, lanes), features)


def instruction(line: str) -> str:
    first, second = line.split()[:2]
    return f"{first} {second}" if first == "{vex}" else first


@pytest.mark.parametrize(("cpu", "features", "lanes", "dot", "wanted"), CODE, ids=[f"{c[0]}-{c[3]}" for c in CODE])
def test_the_tile_fits_the_registers(cpu: str, features: str, lanes: int, dot: int, wanted: dict[str, int]) -> None:
    kind, code = DOTS[lanes][dot], assembly(cpu, features, lanes)[dot]
    found = [loop for loop in cross.loops(code) if wanted.items() <= Counter(map(instruction, loop)).items()]
    assert len(found) == 1, f"{len(found)} loops with {wanted}"
    (loop,) = found
    assert not [line for line in loop if "%rsp" in line or "[sp" in line], "no register goes to the stack"
    if lanes == 16:
        assert all("zmm" in line for line in loop if line.startswith(tuple(wanted)))
    read = [line for line in loop if re.match(r"v?mov[ad]q[au]|v?mov[au]p|vmovdqu", line)]
    assert len(read) <= kind.vectors * kind.step, "loads of the panel, and no copies"
    assert not [line for line in loop if line.startswith(("mov\tv", "str", "stp", "bl"))]
    sums = sum(wanted.values())
    assert len(loop) <= (2.4 if dot != DOT_EXACT else 2) * sums
    if "sdot" in wanted:
        assert all(re.match(r"sdot\s+v\d+\.4s, v\d+\.16b, v\d+\.4b\[[0-3]\]", line) for line in loop if "sdot" in line)


@pytest.mark.parametrize(
    ("cpu", "features", "lanes", "dot"), [c[:4] for c in CODE], ids=[f"{c[0]}-{c[3]}" for c in CODE]
)
def test_columns_that_are_kept_are_added_in_registers(cpu: str, features: str, lanes: int, dot: int) -> None:
    """One loop: each vector of the panel is read once for all rows of the tile, each number of a row once."""
    kind, sums = DOTS[lanes][dot], ("vfmadd", "fmla")
    found = [
        loop
        for loop in cross.loops(assembly(cpu, features, lanes)[dot])
        if sum(line.startswith(sums) for line in loop) == kind.rows * kind.vectors
    ]
    assert len(found) == 1
    (loop,) = found
    register = {16: r"%zmm\d+$", 8: r"%ymm\d+$", 4: r"^fmla\s+v\d+"}[lanes]
    accumulators = {found[0] for line in loop if line.startswith(sums) and (found := re.search(register, line))}
    assert len(accumulators) == kind.rows * kind.vectors, "every result has its register"
    assert not [line for line in loop if re.match(r"v?mov[au]ps\s+%|mov\s+v|str|stp", line)], (
        "no copies, nothing written"
    )
    assert len(loop) <= 2.4 * len(accumulators)


@pytest.mark.parametrize(
    ("cpu", "features", "lanes", "names"),
    [("x86-64-v4", WIDE, 16, "vpdp"), ("x86-64-v3", "", 8, "vpdp|zmm"), ("generic", "", 4, "sdot")],
)
def test_what_only_some_cpus_know_stands_in_its_function(cpu: str, features: str, lanes: int, names: str) -> None:
    """And only that: the same library runs on the others."""
    code = assembly(cpu, features, lanes)
    assert {dot for dot, text in code.items() if re.search(names, text)} == {DOT_NATIVE}
    assert "evex" not in code[DOT_NATIVE]
    assert (lanes == 8) != ("zmm" in code[DOT_NATIVE] or lanes == 4)


# Their sums, run here -------------------------------------------------------------------------------------------------


KINDS = [(lanes, dot) for lanes, kinds in DOTS.items() for dot in kinds]


@pytest.mark.parametrize(("lanes", "dot"), [*KINDS, (0, DOT_EXACT)], ids=str)
def test_tiles_by_the_definition_of_their_sums(lanes: int, dot: int) -> None:
    """Every tile of every CPU, with the sum of four products written out: what is around it runs on any machine."""
    kind: Dots = DOTS.get(lanes, UNKNOWN)[dot]
    by_definition = functools.partial(definition, signed=kind.signed)
    kind = kind._replace(dot4=by_definition, halves=False, features="", order="")
    machine = emit.this_machine()
    module = tile_module({DOT_EXACT: kind}, machine, "")
    engine = binding.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    tile = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 16)(engine.get_function_address(NAME))
    for rows in range(1, kind.rows + 1):
        for k in (1, 4, 5, 13, 16, 17, 64, 100):
            check(tile, kind, rows, k, k % 3)


def check(tile: ctypes._CFuncPtr, kind: Dots, rows: int, k: int, kept: int) -> None:
    rng, n, words = np.random.default_rng([rows, k]), layout.PANEL, -(-k // 4)
    codes, weight = rng.integers(0, 256, (rows, k)).astype(np.uint8), rng.integers(-128, 128, (n, k)).astype(np.int8)
    codes[0], weight[0], weight[-1], weight[5] = 255, -128, 127, -128
    w = test_int8.keeping(Int8Linear(weight, np.exp(normal(1, n)) / 100, normal(2, n)), range(kept))
    scale, zero, numbers = np.exp(normal(3, rows)), rng.integers(0, 256, rows), normal(4, rows, kept)
    x, packed = whole_numbers.given(codes, scale, zero, numbers), whole_numbers.packed(w)
    out = np.full((rows + 1, n + 3), 3e33, np.float32)
    for first in range(0, n, kind.sliver):
        o, columns = packed.operands, first * 4
        tile(
            DOT_EXACT, rows, x.matrix.address, x.matrix.ld, o.weight + first * 4, address(out) + columns, n + 3, words,
            o.scale + columns, o.bias + columns, o.sums + columns, o.kept + columns, kept, o.kept, o.weight, 64,
        )  # fmt: skip
    total = int8.product(codes, weight) - zero[:, None].astype(np.int32) * weight.sum(axis=1, dtype=np.int32)
    want = int8.fma(total.astype(np.float32), scale[:, None] * w.scale, np.broadcast_to(w.bias, total.shape))
    for i in range(kept):
        want = int8.fma(numbers[:, i, None], w.kept[:, i], want)
    assert_same_bits(np.ascontiguousarray(out[:rows, :n]), want, f"{rows} rows, K={k}")
    assert (out[rows:] == np.float32(3e33)).all()
    assert (out[:, n:] == np.float32(3e33)).all()
