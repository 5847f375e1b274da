"""The same bits on another CPU, and a working engine where nothing can be cached."""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import minidistil
from minidistil.kernels.code import kept, native
from minidistil.kernels.code.target import target
from tests.bits import digest
from tests.engine.test_families import albert, every_activation
from tests.engine.test_invariance import CONFIG, alone
from tests.engine.test_narrow import everything
from tests.heads import Head
from tests.processes import python

ROOT = Path(__file__).parents[2]

_PROGRAM = """
from minidistil.kernels.code.target import target
from minidistil.kernels.code.kept import directory
from tests.engine.test_machines import here
print(target().lanes, directory(), here())
"""


def result(program: str = _PROGRAM, **environment: str | None) -> list[str]:
    return python(program, env=environment, cwd=ROOT).split()


def here() -> str:
    """Digest of sentences, activations, heads and models of narrow weights as this process computes them."""
    assert CONFIG["dim"] == 128
    return digest(*alone(0, 40), *alone(1, 200), *albert(), *every_activation(), *heads(), *everything())


def heads() -> list[np.ndarray]:
    """What a head of each kind gives: each activation between two products, and few columns as well as many."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = [
            minidistil.load(head.write(Path(folder) / head.key), threads=1)(**head.inputs(6, 13))
            for head in (
                Head("DistilBert", "SequenceClassification", 2),
                Head("Electra", "SequenceClassification"),
                Head("Camembert", "SequenceClassification"),
                Head("Bert", "MultipleChoice"),
                Head("XLMRoberta", "TokenClassification", 9),
                Head("Albert", "QuestionAnswering"),
                Head("MobileBert", "QuestionAnswering"),
            )
        ]
    return [output[name] for output in outputs for name in output]


# A name alone keeps the features of the host, so that haswell still gets AVX-512 here; the features make it plain AVX2.
@pytest.mark.skipif(target().lanes not in (8, 16), reason="another x86-64 CPU can be asked for on x86-64 only")
@pytest.mark.parametrize(
    ("name", "features", "lanes"),
    [("haswell", "+avx2,+fma", 8), pytest.param("haswell", None, None, marks=pytest.mark.slow)],
)
def test_the_same_bits_as_on_haswell(name: str, features: str | None, lanes: int | None) -> None:
    environment = {"NUMBA_CPU_NAME": name} | ({} if features is None else {"NUMBA_CPU_FEATURES": features})
    found, _, bits = result(**environment)
    assert bits == here()
    assert int(found) == (lanes or target().lanes)


@pytest.mark.slow
@pytest.mark.skipif(target().lanes != 16, reason="elsewhere the quick tests are these")
def test_products_teams_and_training_without_avx512() -> None:
    """Tasks are drawn, and weights packed and fetched, in another way there."""
    program = """
import pytest
kernels = [f"tests/kernels/test_{name}.py" for name in ("gemm", "int8", "kept_columns", "pack", "attention")]
training = ["products", "norms", "activations", "attention", "dropout", "embeddings", "losses", "optimizer"]
kernels += [f"tests/learning/test_{name}.py" for name in training]
raise SystemExit(pytest.main(["-q", *kernels, "tests/engine/test_invariance.py"]))
"""
    result(program, NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES="+avx2,+fma")


def test_without_fma_the_engine_says_so() -> None:
    program = """
from minidistil.backends.engine import EngineUnavailable, warmup
try:
    warmup()
except EngineUnavailable as error:
    print(error)
"""
    words = result(program, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES=None)
    assert "multiply-add" in words
    assert "generic" in " ".join(words)


def test_kept_code_is_found_where_nothing_can_be_written(tmp_path: Path) -> None:
    """As in an image that was warmed up when it was made and runs read-only, without a home."""
    native.entry("run")
    places = [folder / kept._file("run", native._key()) for folder in kept.folders()]
    folder = tmp_path / "minidistil"
    folder.mkdir()
    shutil.copy(next(place for place in places if place.exists()), folder)
    program = """
import os, sys
os.access = lambda *args, **options: False
from minidistil.kernels.code import kept, native
native.entry("run")
print(kept.directory(), "numba" in sys.modules)
"""
    assert result(program, NUMBA_CACHE_DIR=str(tmp_path)) == ["None", "False"]


def test_no_home_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    (folder,) = kept.folders()
    assert folder.name == "__pycache__"


@pytest.mark.slow
def test_no_folder_to_cache_in(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    _, folder, bits = result(NUMBA_CACHE_DIR=str(tmp_path / "file" / "below"))
    assert folder == "None"
    assert bits == here()


@pytest.mark.slow
def test_two_processes_compile_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: result(NUMBA_CACHE_DIR=str(tmp_path)), range(2)))
    for _, folder, bits in both:
        assert folder.startswith(str(tmp_path))
        assert bits == here()


@pytest.mark.slow
def test_torn_cache_files_are_compiled_over(tmp_path: Path) -> None:
    result(NUMBA_CACHE_DIR=str(tmp_path))
    files = list(tmp_path.rglob("*.o"))
    assert files
    for i, path in enumerate(files):
        path.write_bytes(path.read_bytes()[: 60 + i * 300])
    assert result(NUMBA_CACHE_DIR=str(tmp_path))[2] == here()
