"""The libraries that a wheel carries: what a hardened system asks of them, and the same bytes each time."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from build_backend import libraries
from minidistil.kernels.code import emit, shipped
from tests.processes import run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=libraries.RECIPES)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        libraries.linker(libraries.RECIPES[request.param].triple)
    except RuntimeError as error:
        pytest.skip(str(error))
    return libraries.make_apart(request.param, tmp_path_factory.mktemp("library") / f"{request.param}.so")


def test_the_same_bytes_each_time(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "12345")
    again = libraries.make_apart(library.stem, tmp_path / "another name.so")
    assert again.read_bytes() == library.read_bytes()
    assert again.read_bytes().splitlines()[-1].startswith(shipped.sources().encode())


def test_what_a_hardened_system_asks_for(library: Path) -> None:
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not installed (Debian: binutils)")
    done = run(["readelf", "--wide", "--program-headers", "--dynamic", "--dyn-syms", "--relocs", "--notes", library])
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert "DYN (Shared object file)" in text
    assert re.search(r"GNU_STACK .* RW +0x", text), "an executable stack"
    assert "GNU_RELRO" in text
    assert re.search(r"\(FLAGS\) +BIND_NOW", text)
    assert not re.search("TEXTREL|RWE|WE |NEEDED|RPATH|RUNPATH|SONAME|INIT|Build ID", text)
    relocations = set(re.findall(r"R_(?:X86_64|AARCH64)_(\w+)", text))
    assert relocations <= {"JUMP_SLO", "JUMP_SLOT", "RELATIV", "RELATIVE"}, (
        "tables that are read-only once it is loaded"
    )
    symbols = re.findall(r"^ +\d+: \w+ +\d+ (\w+) +GLOBAL +DEFAULT +(\w+) (\S+)", text, re.MULTILINE)
    exported = {name: kind for kind, place, name in symbols if place != "UND"}
    assert exported == {shipped.ENTRY_PREFIX + name: "FUNC" for name in emit.ENTRIES}
    assert {name for _, place, name in symbols if place == "UND"} <= set(emit.ALLOWED)
