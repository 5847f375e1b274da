"""Everyone on plain AVX2 code, on a machine that has more: `--isa avx2`.

Each engine runs the code that it has for such machines, as fast as it is there:

- minidistil, by the names that Numba takes; in int8 also by being told that the CPU has no instruction for it;
- PyTorch and CTranslate2, by the variables that they, oneDNN and MKL document;
- ONNX Runtime and OpenVINO know no such setting (OpenVINO's oneDNN does, but not the MLAS and the kernels beside it).
  They look at the CPU by CPUID, and by XGETBV at what the operating system keeps of its registers; without the latter
  no program may use AVX-512. So they run from a copy of their package in which every XGETBV of a shared library is
  replaced by the answer of a system that keeps SSE's and AVX's registers and no others, which is what they see on a
  machine with AVX2. The instructions are found by disassembling: their three bytes also stand within others.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

ISAS = ("native", "avx2")
SETTINGS = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma,+bmi,+bmi2,+f16c",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "CT2_FORCE_CPU_ISA": "AVX2",
}
COPIED = ("onnxruntime", "openvino")

_XGETBV = b"\x0f\x01\xd0"
# mov al, 7; nop: x87, SSE and AVX in the low byte, where AVX-512's three bits are clear. The bytes above, which XGETBV
# would have set, keep what they were; they speak of AMX, which computes nothing in float32.
_ANSWER = b"\xb0\x07\x90"
_LINE = re.compile(rb"^\s*([0-9a-f]+):\s+0f 01 d0\s+xgetbv\s*$", re.MULTILINE)
_SECTION = re.compile(rb"^\s*\d+ \.text\s+[0-9a-f]+\s+([0-9a-f]+)\s+[0-9a-f]+\s+([0-9a-f]+)", re.MULTILINE)


class Impossible(RuntimeError):
    """The engines cannot be held to AVX2 here; the message says what is missing."""


def held(engines: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Those of the engines that can be held to AVX2, by their names there; and why the others cannot.

    A CPU with AVX-VNNI multiplies bytes in AVX2's registers, which these settings and copies do not hide.
    """
    engines = list(engines)
    named = ["minidistil-int8-avx2" if name == "minidistil-int8" else name for name in engines]
    reason = "takes AVX-VNNI where the CPU has it, and no setting keeps it from that"
    left_out = {name: reason for name in named if name.startswith("onnxruntime-int8")}
    return [name for name in named if name not in left_out], left_out


def hold_to_avx2(engines: Iterable[str], folder: Path) -> list[str]:
    """Make this process, and those that it starts, take plain AVX2 code; before any engine is imported.

    Args:
        engines: names of `benchmarks.engines.ENCODERS`.
        folder: where the copies are made; they stay there and are used again.

    Returns:
        What was done, in words.

    Raises:
        Impossible: no objdump.
    """
    os.environ.update(SETTINGS)
    done = [" ".join(f"{name}={value}" for name, value in SETTINGS.items())]
    wanted = {name.partition("-")[0] for name in engines}
    for package in COPIED:
        spec = find_spec(package)
        if package not in wanted or spec is None or spec.origin is None:
            continue
        place = folder / f"{package}-{importlib.metadata.version(package)}"
        if not place.exists():
            _copy(Path(spec.origin).parent, place)
        sys.path.insert(0, str(place.resolve()))  # of processes that multiprocessing starts, too
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (sys.path[0], os.environ.get("PYTHONPATH"))))
        counts = (place / "replaced.txt").read_text().strip().splitlines()
        done.append(f"{package} from a copy, XGETBV replaced ({', '.join(counts)})")
    return done


def replace_xgetbv(library: Path) -> int:
    """Replace every XGETBV in the code of an ELF file by its answer on a machine with AVX2; returns how many."""
    data = bytearray(library.read_bytes())
    if _XGETBV not in data:
        return 0
    section = _SECTION.search(_objdump("-h", library))
    if section is None:
        return 0
    address, place = (int(number, 16) for number in section.groups())
    found = [int(line[1], 16) - address + place for line in _LINE.finditer(_objdump("-d", library))]
    for at in found:
        if data[at : at + 3] != _XGETBV:
            raise Impossible(f"{library.name}: no XGETBV at {at:#x}, where objdump says that one is")
        data[at : at + 3] = _ANSWER
    if found:
        library.write_bytes(data)
    return len(found)


def _copy(package: Path, place: Path) -> None:
    """The package below `place`, which is there when all of it is."""
    if shutil.which("objdump") is None:
        raise Impossible("--isa avx2 finds the instructions with objdump: install binutils")
    unfinished = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        copy = Path(shutil.copytree(package, unfinished / package.name))
        libraries = [file for file in sorted(copy.rglob("*.so*")) if file.is_file()]
        counts = {library.name: replace_xgetbv(library) for library in libraries}
        (unfinished / "replaced.txt").write_text("".join(f"{n} in {name}\n" for name, n in counts.items() if n))
        unfinished.replace(place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _objdump(option: str, library: Path) -> bytes:
    command = ["objdump", option, "--section=.text", str(library)]
    return subprocess.run(command, capture_output=True, check=True).stdout
