"""pyproject.toml says what the folders hold."""

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _packages_on_disk() -> set[str]:
    """Import names of every folder with Python files below the three that are shipped."""
    found = set()
    for top, name in {
        "minidistil": "minidistil",
        "kernels": "minidistil.kernels",
        "weights": "minidistil.weights",
    }.items():
        for file in (ROOT / top).rglob("*.py"):
            found.add(".".join([name, *file.parent.relative_to(ROOT / top).parts]))
    return found


def test_every_package_is_listed():
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == _packages_on_disk()


def test_every_package_has_an_init():
    folders = {file.parent for top in ("minidistil", "kernels", "weights") for file in (ROOT / top).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_types_are_shipped():
    assert PROJECT["tool"]["setuptools"]["package-data"] == {
        "*": ["py.typed", "*.pyi"],
        "minidistil": ["sentiment/*"],
        "minidistil.records": ["examples/*.*"],
        "minidistil.study": ["page/*"],
    }
    assert (ROOT / "minidistil" / "py.typed").exists()


def test_runtime_dependencies_are_the_four():
    """numba among them, which a wheel with machine code leaves to an extra (tests/project/test_wheel.py)."""
    assert PROJECT["project"]["dynamic"] == ["dependencies"]
    file = PROJECT["tool"]["setuptools"]["dynamic"]["dependencies"]["file"][0]
    specs = [line for line in (ROOT / file).read_text().splitlines() if not line.startswith("#")]
    assert {re.match(r"[a-z0-9-]+", spec)[0] for spec in specs} == {"numpy", "numba", "safetensors", "tokenizers"}
    assert set(PROJECT["project"]["optional-dependencies"]["jit"]) < set(specs)


def test_torch_is_pinned_where_it_is_asked_for():
    extras = PROJECT["project"]["optional-dependencies"]
    specs = [spec for name in ("parity", "bench") for spec in extras[name] if spec.startswith("torch")]
    assert specs == ["torch==2.13.0"] * 2


def test_version_is_in_the_changelog():
    assert f"## [{PROJECT['project']['version']}]" in (ROOT / "CHANGELOG.md").read_text()
