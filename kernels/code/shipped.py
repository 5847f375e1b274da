"""Machine code that came with the package: libraries beside this file, which a wheel has and a checkout has not.

A library is as trusted as the sources beside it: who can write one can write the other. It is opened only where it is
whole, and made from the very sources that are installed; so changed kernels never run as they were before. The
last line of the file tells, behind all that the system's loader looks at: a digest of the sources, and one of the rest.

The environment variable MINIDISTIL_KERNELS asks for something else: "compile" for code that is made here, the name of a
library for that one, "none" for no code at all. Where NUMBA_CPU_NAME or NUMBA_CPU_FEATURES asks for another CPU's code,
no library serves either.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from minidistil._loading import loading

_FOLDER = Path(__file__).resolve().parent
_KERNELS = _FOLDER.parent
_CPUS = Path("/proc/cpuinfo")

ENTRY_PREFIX = "minidistil_"
"""What the symbols of entries begin with; a library exports them, and nothing else."""


class Kind(NamedTuple):
    """What a library needs: the machine as the system calls it, and flags of /proc/cpuinfo; lanes of its vectors."""

    machine: str
    lanes: int
    flags: frozenset[str]


# The levels of the x86-64 psABI, with the flags as Linux writes them: abm is LZCNT, pni SSE3. It leaves out what the
# system has not turned on.
_V3 = frozenset(
    "abm avx avx2 bmi1 bmi2 cx16 f16c fma lahf_lm movbe pni popcnt sse4_1 sse4_2 ssse3 xsave".split()
)  # fmt: skip
_V4 = _V3 | frozenset("avx512bw avx512cd avx512dq avx512f avx512vl".split())
KINDS = {
    "x86-64-v4": Kind("x86_64", 16, _V4),
    "x86-64-v3": Kind("x86_64", 8, _V3),
    "aarch64": Kind("aarch64", 4, frozenset({"asimd", "fp"})),
}
"""By their names, best first."""


class Unavailable(RuntimeError):
    """There is no machine code here, and none can be made; the message says why."""


class Library(NamedTuple):
    """An open library that fits: its name, float32 lanes of its vectors, and what it exports."""

    name: str
    lanes: int
    code: ctypes.CDLL

    def address(self, symbol: str) -> int:
        """Where an exported function is."""
        return ctypes.cast(self.code[symbol], ctypes.c_void_p).value or 0


class Choice(NamedTuple):
    """The library that serves, or None where code is compiled here, and why."""

    library: Library | None
    why: str


@functools.lru_cache(maxsize=1)
def choice() -> Choice:
    """Find the code that runs in this process.

    Raises:
        Unavailable: MINIDISTIL_KERNELS asks for no code, or for a library that cannot run here.
        ValueError: it asks for something that there is not.
    """
    with loading():
        return _choose()


def _choose() -> Choice:
    wanted = os.environ.get("MINIDISTIL_KERNELS", "")
    if wanted in KINDS:
        found = _opened(wanted)
        if isinstance(found, str):
            raise Unavailable(f"MINIDISTIL_KERNELS asks for {wanted}, and {found}")
        return Choice(found, "MINIDISTIL_KERNELS asks for it")
    if wanted == "none":
        raise Unavailable("MINIDISTIL_KERNELS asks for none")
    if wanted == "compile":
        return Choice(None, "MINIDISTIL_KERNELS asks for it")
    if wanted:
        raise ValueError(f'MINIDISTIL_KERNELS must be "compile", "none" or one of {list(KINDS)}, got {wanted!r}')
    for variable in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
        if variable in os.environ:
            return Choice(None, f"{variable} is set")
    shipped = [name for name in KINDS if _file(name).exists()]
    reasons = []
    for name in shipped:
        found = _opened(name)
        if not isinstance(found, str):
            return Choice(found, "it came with the package and fits this CPU")
        reasons.append(found)
    return Choice(None, "; ".join(reasons) or "the package came without machine code")


@contextlib.contextmanager
def compiler() -> Iterator[None]:
    """What is done in this context needs the compiler; where it is missing, the error says so, and why it is needed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("numba", "llvmlite"):
            raise
        raise Unavailable(f"{error.name} is not installed, and {choice().why}") from None


def sources() -> str:
    """A digest of all that machine code is made from: hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=12)
    for path in sorted(_KERNELS.rglob("*.py")):
        digest.update(path.relative_to(_KERNELS).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def stamped(code: bytes, made_from: bytes) -> bytes:
    """A library's file: what the linker made, and the stamp."""
    return b"%s\n%s %s\n" % (code, made_from, hashlib.blake2b(code, digest_size=16).hexdigest().encode())


def lacking(name: str) -> list[str]:
    """What this machine lacks for a library; empty where it can run it."""
    kind = KINDS[name]
    if sys.platform != "linux" or os.uname().machine != kind.machine or sys.maxsize < 2**32:
        return [f"Linux on {kind.machine}"]
    return sorted(kind.flags - flags())


def _opened(name: str) -> Library | str:
    """A library; or why it cannot be used."""
    path = _file(name)
    if not path.exists():
        return f"the package came without {path.name}"
    if missing := lacking(name):
        return f"this machine lacks {', '.join(missing)} for {path.name}"
    try:
        content, expected = path.read_bytes(), sources().encode()
        code, _, last = content[:-1].rpartition(b"\n")
        if content != stamped(code, last.partition(b" ")[0]):
            return f"{path.name} is damaged"
        if content != stamped(code, expected):
            return f"{path.name} was made from other sources of the kernels"
        return Library(name, KINDS[name].lanes, ctypes.CDLL(str(path)))
    except OSError as error:  # a system that executes nothing from there
        return f"{path.name} cannot be loaded: {error}"


def _file(name: str) -> Path:
    return _FOLDER / f"{name}.so"


def flags() -> set[str]:
    """What the first CPU can do and the system has turned on, as Linux names it; empty where that is unknown."""
    with contextlib.suppress(OSError), _CPUS.open() as lines:
        for line in lines:
            name, _, values = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return set(values.split())
    return set()
