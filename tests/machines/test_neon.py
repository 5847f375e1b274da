"""The kernels on 64-bit ARM: what LLVM makes of them, and their bits under emulation."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from llvmlite import binding

from minidistil.backends.engine import Engine
from minidistil.backends.engine.operations import Operations
from minidistil.backends.reference import Reference, exact
from minidistil.backends.reference.model import NARROW
from minidistil.kernels import layout
from minidistil.kernels.code.emit import ALLOWED, any_machine
from minidistil.kernels.code.target import TILES
from minidistil.kernels.steps.pack import Pack
from minidistil.kernels.steps.product import Product
from minidistil.kernels.steps.table import Matrix, Packed
from minidistil.kernels.steps.take import take
from minidistil.weights.model_weights import Linear, Norm
from minidistil.weights.narrow import rounded, widened
from tests import build, synthetic
from tests.bits import assert_same_bits
from tests.kernels.values import normal
from tests.machines import cross, emulator

NEON = TILES[4]


def needs_the_target() -> None:
    binding.initialize_all_targets()
    try:
        binding.Target.from_triple(cross.AARCH64)
    except RuntimeError:
        pytest.skip("this llvmlite was built without the AArch64 code generator")


# What LLVM makes of the tile ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cpu", ["generic", "neoverse-n1", "neoverse-v2", "apple-m1"])
def test_the_tile_fits_the_registers(cpu: str) -> None:
    needs_the_target()
    loop = cross.inner_loop(cross.tile_assembly(NEON, any_machine(cross.AARCH64, cpu)), NEON)
    sums = cross.multiply_adds(loop)
    assert all(re.match(r"fmla\s+v\d+\.4s, v\d+\.4s, v\d+\.s\[[0-3]\]", line) for line in sums), "by a lane, no copies"
    assert len({line.split()[1] for line in sums}) == NEON.rows * NEON.vectors, "every accumulator has its register"
    assert not [line for line in loop if "[sp" in line], "no register goes to the stack"
    assert not [line for line in loop if line.startswith(("mov", "dup", "str", "stp", "bl"))]
    assert len(loop) <= 1.5 * len(sums)


@pytest.mark.parametrize("cpu", ["neoverse-n1", "neoverse-v2", "apple-m1"])
def test_bfloat16_takes_one_instruction_a_vector(cpu: str) -> None:
    needs_the_target()
    loop = cross.inner_loop(cross.tile_assembly(NEON, any_machine(cross.AARCH64, cpu)), NEON, bf16=True)
    sums = cross.multiply_adds(loop)
    assert all(re.match(r"fmla\s+v\d+\.4s, v\d+\.4s, v\d+\.s\[[0-3]\]", line) for line in sums), "by a lane, no copies"
    assert len({line.split()[1] for line in sums}) == NEON.rows * NEON.vectors, "every accumulator has its register"
    assert not [line for line in loop if "[sp" in line], "no register goes to the stack"
    assert not [line for line in loop if line.startswith(("mov", "dup", "str", "stp", "bl"))]
    assert len(cross.shifts(loop)) == NEON.vectors * 2
    assert len([line for line in loop if line.startswith("and")]) == NEON.vectors * 2
    assert len(loop) <= 1.6 * len(sums)


# The entries ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs_the_target()
    for tool in (emulator.COMPILER, emulator.EMULATOR):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (Debian: qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross)")
    folder = tmp_path_factory.mktemp("aarch64")
    emulator.build(folder)
    return folder


# Of FPCR: rounding up, down, toward zero; subnormals to zero, and one NaN for all.
MODES = [1 << 22, 2 << 22, 3 << 22, 1 << 24 | 1 << 25]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES, ids=hex)
def test_the_callers_floating_point_mode(folder: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    config, weights = build.config(DISTILBERT), build.model_weights(DISTILBERT)
    batch, tiny = build.batch(sentences(DISTILBERT, 17, 40)), np.float32([1e-40, -1e-40, 1e-39, 0.5])
    want = Reference(config, weights, exact).encode(batch)
    machine = emulator.Emulator(folder, mode)
    machine.takes_over(monkeypatch)
    assert_same_bits(Engine(config, weights, threads=2).encode(batch).last, want.last)
    assert_same_bits(Operations().activation("gelu", tiny), exact.activation("gelu", tiny))
    assert [len(run) > 1 for run in machine.runs[-2:]] == [True, False]


@pytest.fixture
def emulated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[emulator.Emulator]:
    """From here on the engine runs on the emulated machine."""
    machine = emulator.Emulator(folder)
    machine.takes_over(monkeypatch)
    yield machine
    assert machine.runs, "nothing was emulated"


@pytest.mark.slow
def test_the_code_calls_nothing_of_the_mathematical_library(folder: Path) -> None:
    assembly = (folder / "minidistil_run.s").read_text()
    assert cross.calls(assembly) <= set(ALLOWED)
    (entry,) = (text for text in assembly.split(".cfi_startproc") if "FPCR" in text)
    assert len(re.findall(r"msr\s+FPCR", entry)) == 2, "the default mode, then the caller's"
    assert not re.search(r"\b[vqds]\d", entry.partition(".cfi_endproc")[0]), "nothing is computed in another mode"
    ordered = {"ldar", "ldaxr", "stlxr"}
    assert ordered <= set(re.findall(r"^\s+(\w+)", assembly, re.MULTILINE)), "what the threads' meeting rests on"
    loop = cross.inner_loop(assembly, NEON)
    assert not [line for line in loop if "[sp" in line or line.startswith("mov")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [(1, 1, 1), (1, 50, 64), (6, 48, 191), (7, 49, 192), (8, 95, 193), (13, 12, 301), (29, 7, 385), (290, 60, 1200)],
)
def test_linear(emulated: emulator.Emulator, m: int, n: int, k: int) -> None:
    x, w = normal(1, m, k), Linear(normal(2, n, k, scale=0.2), normal(3, n))
    want = (exact.narrow if n in NARROW else exact.linear)(x, w)
    assert_same_bits(Operations().linear(x, w), want)
    assert emulated.runs == [["NarrowProduct" if n in NARROW else "Product"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [(1, 50, 64), (6, 48, 190), (7, 49, 192), (8, 95, 196), (13, 12, 312), (29, 60, 386), (290, 60, 1200)],
)
def test_bfloat16(emulated: emulator.Emulator, m: int, n: int, k: int) -> None:
    x, bits, bias = normal(1, m, k), rounded(normal(2, n, k, scale=0.2)), normal(3, layout.padded_columns(n))
    weight = np.full((layout.panels(n), k, layout.PANEL), 7, np.uint16)
    take(Pack(layout.address(bits), n, k, layout.address(weight), 1))
    out = np.full((m, n), np.nan, np.float32)
    matrix = Packed(layout.address(weight), layout.address(bias), k, n, 1)
    take(Product(Matrix(layout.address(x), k), matrix, Matrix(layout.address(out), n), m))
    assert_same_bits(out, exact.linear(x, Linear(widened(bits), bias[:n])))
    assert emulated.runs == [["Pack"], ["Product"]]


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 16, 50, 193, 200, 400])
@pytest.mark.parametrize("n", [1, 11, 12, 13, 47, 48, 150])
def test_packing(emulated: emulator.Emulator, n: int, k: int) -> None:
    weight = normal(1, n, k)
    for bf16, some in enumerate((weight, rounded(weight))[: 1 + layout.in_pairs(k)]):
        want, got = (np.full((layout.panels(n), k, layout.PANEL), 7, some.dtype) for _ in range(2))
        layout.pack(some, want, NEON.sliver)
        take(Pack(layout.address(some), n, k, layout.address(got), bf16))
        np.testing.assert_array_equal(got.view(np.uint16), want.view(np.uint16))


@pytest.mark.slow
@pytest.mark.parametrize("n", [8, 48, 128, 312, 768, 3072])
def test_layer_norm(emulated: emulator.Emulator, n: int) -> None:
    x, w = normal(1, 9, n), Norm(normal(2, n), normal(3, n), 1e-12)
    assert_same_bits(Operations().layer_norm(x, w), exact.layer_norm(x, w))


@pytest.mark.slow
@pytest.mark.parametrize("name", layout.ACTIVATIONS)
def test_activation(emulated: emulator.Emulator, name: str) -> None:
    x = np.concatenate([normal(1, 150, scale=5), np.float32([0, -0.0, 1e-40, -1e-40, 3e38, -3e38, np.inf, -np.inf])])
    assert_same_bits(Operations().activation(name, x), exact.activation(name, x))


DISTILBERT = {**synthetic.DISTILBERT_SMALL, "n_layers": 2}
BERT = {**synthetic.BERT_SMALL, "num_hidden_layers": 1}
MOBILEBERT = {**synthetic.MOBILEBERT_SMALL, "num_hidden_layers": 1}


def sentences(values: dict, *lengths: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, values["vocab_size"], n) for n in lengths]


@pytest.mark.slow
@pytest.mark.parametrize(("lengths", "threads"), [((1,), 1), ((17,), 1), ((40,), 1), ((200, 1, 17, 40), 2)], ids=str)
@pytest.mark.parametrize("values", [DISTILBERT, BERT, MOBILEBERT], ids=lambda values: values["model_type"])
def test_encoder(folder: Path, values: dict, lengths: tuple[int, ...], threads: int) -> None:
    """The bits of the reference, and of the engine as compiled for the machine at hand."""
    config, weights = build.config(values), build.model_weights(values)
    types = None if values is DISTILBERT else [np.arange(n) % 2 for n in lengths]
    batch = build.batch(sentences(values, *lengths), types)
    want = Reference(config, weights, exact).encode(batch, hidden_states=True, attentions=True)
    here = Engine(config, weights, threads=1).encode(batch, hidden_states=True, attentions=True)
    rows = np.array([0, len(batch.position_ids) - 1])
    with pytest.MonkeyPatch.context() as patch:
        machine = emulator.Emulator(folder)
        machine.takes_over(patch)
        engine = Engine(config, weights, threads=threads)
        assert {step for run in machine.runs for step in run} == {"Pack"}, "packed there"
        machine.runs.clear()
        got = engine.encode(batch, hidden_states=True, attentions=True)
        some = engine.encode(batch, rows=rows).last
    assert len(machine.runs) == 2
    assert all(run.count("Attend") == config.n_layers for run in machine.runs)
    for a, b, c in zip(got.hidden_states, want.hidden_states, here.hidden_states, strict=True):
        assert_same_bits(a, b)
        assert_same_bits(a, c)
    for layer, layer_want in zip(got.attentions, want.attentions, strict=True):
        for a, b in zip(layer, layer_want, strict=True):
            assert_same_bits(np.ascontiguousarray(a), b)
    assert_same_bits(some, want.last[rows])


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("values", [DISTILBERT, MOBILEBERT], ids=lambda values: values["model_type"])
def test_masked_lm(emulated: emulator.Emulator, values: dict, rows: int) -> None:
    config, weights = build.config(values), build.model_weights(values)
    hidden = normal(1, rows, config.dim)
    want = Reference(config, weights, exact).masked_lm(hidden)
    assert_same_bits(Engine(config, weights, threads=2).masked_lm(hidden), want)
