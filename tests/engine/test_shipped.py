"""Which machine code runs: of a library that came with the package, or compiled here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llvmlite import binding

from build_backend import libraries
from minidistil.kernels.code import emit, native, shipped
from minidistil.kernels.code.target import target
from tests.processes import python

OWN = [name for name, kind in shipped.KINDS.items() if kind.machine == os.uname().machine]

pytestmark = pytest.mark.skipif(not OWN, reason="there are no libraries for this machine")

# In the place of `run`: says that it went well, and True where it is the first of its team.
_CODE = """
target triple = "{triple}"
define i32 @minidistil_run(ptr %result, ptr %exception, i64 %call, i64 %thread, i64 %threads) {{
  %first = icmp eq i64 %thread, 0
  %wide = zext i1 %first to i64
  store i64 %wide, ptr %result
  ret i32 0
}}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with the installed sources' digest, and code that any CPU of this kind can run."""
    triple = libraries.RECIPES[OWN[-1]].triple
    try:
        libraries.linker(triple)
    except RuntimeError as error:
        pytest.skip(str(error))
    machine, path = emit.any_machine(triple, "generic"), tmp_path_factory.mktemp("made") / "made.so"
    module = binding.parse_assembly(_CODE.format(triple=triple))
    module.data_layout = str(machine.target_data)
    libraries.link(machine, {"minidistil_run": module}, path)
    return path


class Place:
    """A folder in the place of the package's, and a CPU that can do what `flags` say, for what asks anew."""

    def __init__(self, folder: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.content, self.monkeypatch = folder, made.read_bytes(), monkeypatch
        monkeypatch.setattr(shipped, "_FOLDER", folder)
        monkeypatch.setattr(shipped, "_CPUS", folder / "cpuinfo")
        for variable in ("MINIDISTIL_KERNELS", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setattr(native, "_entries", {})
        self.put(*OWN)
        self.can(*OWN)

    def put(self, *names: str) -> None:
        """Have exactly these libraries."""
        for old in self.folder.glob("*.so"):
            old.unlink()
        for name in names:
            (self.folder / f"{name}.so").write_bytes(self.content)
        forget()

    def can(self, *names: str, but: str = "") -> None:
        """Have a CPU for these libraries, that lacks one flag."""
        flags = frozenset[str]().union(*(shipped.KINDS[name].flags for name in names)) - {but}
        head = "Features" if "aarch64" in OWN else "flags\t"
        (self.folder / "cpuinfo").write_text(f"processor\t: 0\n{head}\t: {' '.join(sorted(flags))}\n\nprocessor\t: 1\n")
        forget()


def forget() -> None:
    shipped.choice.cache_clear()
    target.cache_clear()
    native._entries.clear()


@pytest.fixture
def place(tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    yield Place(tmp_path, made, monkeypatch)
    monkeypatch.undo()
    forget()


def chosen() -> str | None:
    library = shipped.choice().library
    return library and library.name


def test_a_library_that_fits_is_called(place: Place) -> None:
    run = native.entry("run")
    assert [run(0, thread, 2) for thread in range(2)] == [True, False]
    assert target() == (OWN[0], shipped.KINDS[OWN[0]].lanes)
    assert native.description() == f"{OWN[0]}: it came with the package and fits this CPU"


def test_the_best_that_the_cpu_can_run(place: Place) -> None:
    for i, name in enumerate(OWN):
        place.can(*OWN[i:])
        assert chosen() == name
        own = shipped.KINDS[name].flags - frozenset[str]().union(*(shipped.KINDS[n].flags for n in OWN[i + 1 :]))
        for flag in sorted(own):
            place.can(*OWN[i:], but=flag)
            assert chosen() == ([*OWN[i + 1 :], None][0]), flag
    assert f"lacks {flag} for" in native.description()


def test_another_machine_runs_none(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*real[:4], "riscv64")))
    forget()
    assert chosen() is None
    monkeypatch.setattr(os, "uname", lambda: real)
    monkeypatch.setattr(sys, "platform", "darwin")
    forget()
    assert chosen() is None


def test_without_proc_none_is_taken(place: Place) -> None:
    (place.folder / "cpuinfo").unlink()
    assert chosen() is None


def test_a_stale_library_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made from sources that are not the installed ones: one bit of one of them is another."""
    sources = shipped.sources()
    monkeypatch.setattr(shipped, "sources", lambda: f"{int(sources[0], 16) ^ 1:x}{sources[1:]}")
    forget()
    assert chosen() is None
    assert f"{OWN[0]}.so was made from other sources of the kernels" in shipped.choice().why
    assert native.description().startswith("compiled for ")
    monkeypatch.setenv("MINIDISTIL_KERNELS", OWN[0])
    forget()
    with pytest.raises(native.Unavailable, match=f"asks for {OWN[0]}, and .* made from other sources"):
        native.entry("run")


def test_the_digest_is_of_every_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {shipped.sources()}
    (tmp_path / "room").mkdir()
    monkeypatch.setattr(shipped, "_KERNELS", tmp_path)
    for name, text in (("a.py", ""), ("a.py", "x"), ("room/a.py", "x"), ("room/b.py", "x")):
        (tmp_path / name).write_text(text)
        seen.add(shipped.sources())
    assert len(seen) == 5


def test_a_damaged_library_is_not_opened(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's loader ends the process where a file is cut short. Every length, and a bit of every byte."""
    whole, fine = place.content, place.folder / f"{OWN[0]}.so"
    place.put(OWN[0])
    monkeypatch.setattr(shipped.ctypes, "CDLL", lambda path: pytest.fail("it was opened"))
    for damaged in (
        *(whole[:length] for length in [0, 1, *range(7, len(whole), 501), *range(len(whole) - 70, len(whole))]),
        *(whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :] for i in range(0, len(whole), 37)),
        whole + b"\n",
        whole + whole,
    ):
        fine.write_bytes(damaged)
        shipped.choice.cache_clear()
        assert chosen() is None
        assert "is damaged" in shipped.choice().why or "other sources" in shipped.choice().why


def test_a_file_that_the_system_does_not_execute(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise OSError("failed to map segment from shared object")

    monkeypatch.setattr(shipped.ctypes, "CDLL", refuse)
    assert chosen() is None
    assert f"{OWN[0]}.so cannot be loaded: failed to map" in shipped.choice().why


def test_what_the_environment_asks_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(value: str) -> Any:
        monkeypatch.setenv("MINIDISTIL_KERNELS", value)
        forget()
        return chosen()

    assert [asked(name) for name in OWN] == OWN
    assert asked("") == OWN[0]
    assert asked("compile") is None
    assert target().name not in OWN
    with pytest.raises(native.Unavailable, match="asks for none"):
        asked("none")
    assert native.description() == "none: MINIDISTIL_KERNELS asks for none"
    with pytest.raises(ValueError, match=r'must be "compile", "none" or one of .*, got \'x\''):
        asked("x")
    place.put()
    with pytest.raises(native.Unavailable, match=f"and the package came without {OWN[0]}.so"):
        asked(OWN[0])
    place.put(*OWN)
    place.can()
    with pytest.raises(native.Unavailable, match="this machine lacks"):
        asked(OWN[0])


@pytest.mark.parametrize("variable", ["NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"])
def test_another_cpus_code_is_compiled(place: Place, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "generic" if variable.endswith("NAME") else "")
    forget()
    assert chosen() is None
    assert shipped.choice().why == f"{variable} is set"


def test_no_compiler_is_imported_where_a_library_serves(place: Place) -> None:
    program = """
import sys
from pathlib import Path
sys.modules["numba"] = sys.modules["llvmlite"] = None
from minidistil.kernels.code import native, shipped
shipped._FOLDER, shipped._CPUS = Path(sys.argv[1]), Path(sys.argv[1], "cpuinfo")
print(native.entry("run")(0, 0, 1), native.description())
"""
    said = python(program, place.folder, env=dict.fromkeys(("MINIDISTIL_KERNELS", "NUMBA_CPU_NAME")))
    assert said == f"True {OWN[0]}: it came with the package and fits this CPU"
