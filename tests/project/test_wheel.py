"""The wheel, installed into an empty environment and used from another folder."""

from __future__ import annotations

import json
import shutil
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from minidistil.cli.text import examples
from tests.processes import run

ROOT = Path(__file__).resolve().parents[2]
LARGEST_WHEEL = 512 * 1024  # bytes: source code only

pytestmark = pytest.mark.slow


def _run(*command: str | Path, cwd: Path, status: int = 0, **environment: str) -> str:
    done = run(command, cwd=cwd, env={"PYTHONPATH": None, "PYTHONHOME": None, "VIRTUAL_ENV": None} | environment)
    assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: a build in the checkout would leave its folder behind, and find an old one."""
    source = tmp_path_factory.mktemp("source") / "checkout"
    ignore = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")
    shutil.copytree(ROOT, source, ignore=ignore)
    out = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", out, source, cwd=out)
    (file,) = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The interpreter of a fresh environment that has the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    _run(python, "-m", "pip", "install", wheel, cwd=folder)
    return python


def test_contents(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"minidistil", "minidistil-0.1.0.dist-info"}
    assert {"minidistil/py.typed", "minidistil/kernels/__init__.py", "minidistil/weights/__init__.py"} <= set(names)
    assert {f"minidistil/cli/examples/{name.partition(':')[2]}.txt" for name in examples()} <= set(names)
    assert any(name.endswith("LICENSE") for name in names)
    assert wheel.stat().st_size < LARGEST_WHEEL


def test_every_source_file_is_in_it(wheel):
    shipped = set(zipfile.ZipFile(wheel).namelist())
    for top, inside in {
        "minidistil": "minidistil",
        "kernels": "minidistil/kernels",
        "weights": "minidistil/weights",
    }.items():
        files = [file for ending in ("*.py", "*.pyi") for file in (ROOT / top).rglob(ending)]
        assert {f"{inside}/{file.relative_to(ROOT / top).as_posix()}" for file in files} - shipped == set()


def test_it_brings_its_four_dependencies_and_theirs_only(python, tmp_path):
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
print(sorted(direct), sorted(installed ^ closure), "torch" in installed)
"""
    expected = "['numba', 'numpy', 'safetensors', 'tokenizers'] [] False"
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
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    ours = _run(sys.executable, "-m", "minidistil", *arguments, cwd=tmp_path)
    theirs = _run(python.with_name("minidistil"), *arguments, cwd=tmp_path, **cache)
    assert len(json.loads(theirs)[0]) == 5
    assert theirs == ours
    assert "every bit agrees" in _run(python, "-m", "minidistil", "verify", distilbert_small, cwd=tmp_path, **cache)


def test_types_reach_the_user(python, tmp_path):
    """What py.typed promises: mypy, run by somebody else, sees the annotations."""
    pytest.importorskip("mypy")
    (tmp_path / "theirs.py").write_text(
        "import minidistil\n\nreveal_type(minidistil.load)\nminidistil.load(threads=1)\n"
        "reveal_type(minidistil.BertForMaskedLM.from_pretrained('x'))\n"
    )
    out = _run(sys.executable, "-m", "mypy", "--python-executable", python, "theirs.py", cwd=tmp_path, status=1)
    assert "missing library stubs" not in out
    assert "threads" in out.splitlines()[0]
    assert "Missing positional argument" in out
    assert 'Revealed type is "minidistil.models.classes.BertForMaskedLM"' in out
