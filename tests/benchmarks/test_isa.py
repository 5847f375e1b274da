"""Holding the peers to AVX2: the instructions that are replaced, and the bytes that only look like one."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import pytest

from benchmarks import isa
from tests import processes

_CODE = """
        .text
asks:   xorl %ecx, %ecx
        xgetbv
        ret
only_looks_so:
        andl $15, %eax
        addl %edx, %eax
        ret
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    if not (shutil.which("objdump") and shutil.which("as")) or platform.machine() != "x86_64":
        pytest.skip("needs binutils for x86-64")
    file = tmp_path / "package" / "library.so"
    file.parent.mkdir()
    assembled = processes.run(["as", "--64", "-o", file, "-"], input=_CODE)
    assert assembled.returncode == 0, assembled.stderr
    return file


def listing(file: Path) -> str:
    return str(processes.run(["objdump", "-d", file]).stdout)


def test_xgetbv_is_replaced_and_nothing_that_looks_like_it(library: Path) -> None:
    before = library.read_bytes()
    assert before.count(b"\x0f\x01\xd0") == 2
    assert isa.replace_xgetbv(library) == 1
    after = library.read_bytes()
    assert after == before.replace(b"\x31\xc9\x0f\x01\xd0", b"\x31\xc9\xb0\x07\x90")
    text = listing(library)
    assert "\txgetbv" not in text
    assert "mov    $0x7,%al" in text
    assert "add    %edx,%eax" in text, "the other one is whole"
    assert isa.replace_xgetbv(library) == 0


def test_a_copy_is_made_once_and_goes_first(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (library.parent / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(isa, "COPIED", ("package",))
    monkeypatch.setattr(isa.importlib.metadata, "version", lambda name: "1")
    monkeypatch.setattr(isa.os, "environ", {"PYTHONPATH": "before"})
    folder = tmp_path / "copies"
    done = isa.hold_to_avx2(["package"], folder)
    assert done[0].startswith("NUMBA_CPU_NAME=haswell ")
    assert done[1] == "package from a copy, XGETBV replaced (1 in library.so)"
    assert isa.os.environ["PYTHONPATH"].split(":") == [isa.sys.path[0], "before"]
    assert Path(isa.sys.path[0]) == (folder / "package-1").resolve()
    assert "\txgetbv" in listing(library), "the installed package is as it was"
    copied = folder / "package-1" / "package" / "library.so"
    assert "\txgetbv" not in listing(copied)
    assert [p.name for p in folder.iterdir()] == ["package-1"]
    time_of_first = copied.stat().st_mtime_ns
    assert isa.hold_to_avx2(["package", "nobody"], folder) == done
    assert copied.stat().st_mtime_ns == time_of_first


def test_without_objdump_nothing_is_left(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isa.shutil, "which", lambda name: None)
    with pytest.raises(isa.Impossible, match="install binutils"):
        isa._copy(library.parent, tmp_path / "copies" / "package-1")
    assert not (tmp_path / "copies").exists()
