"""The build backend: setuptools', with what the layout of the folders and the kernels' machine code need beyond it.

**An editable install that type checkers follow.** `kernels/` and `weights/` stand beside `minidistil/` and belong in
it. setuptools would map folders to names in an import hook, which no type checker runs. Links say the same to everyone:
`minidistil/kernels` and `minidistil/weights` in the package, and `editable/minidistil`, alone in its folder, so that a
line in a .pth file can name that folder without putting `kernels`, `tests` or `docs` on anybody's path.

**A wheel with machine code**, where the setting `kernels=x86_64` or `kernels=aarch64` asks for one: the libraries that
libraries.py makes, beside the sources that they were made from. Such a wheel is for one machine, and asks for no
compiler. Without the setting a wheel is for all, compiles where it is used, and so requires Numba, as an install from
the checkout or from the archive of the sources does.
"""

from __future__ import annotations

import base64
import hashlib
import re
import tempfile
import time
import zipfile
from os import environ
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import build_sdist, get_requires_for_build_editable, get_requires_for_build_sdist

from build_backend import libraries

__all__ = (
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
)

Settings = dict[str, Any] | None

ROOT = Path(__file__).resolve().parents[1]
EDITABLE = ROOT / "build_backend" / "editable"
LINKS = {
    ROOT / "minidistil" / "kernels": "../kernels",
    ROOT / "minidistil" / "weights": "../weights",
    EDITABLE / "minidistil": "../../minidistil",
}

COMPILER = "numba"
PLACE = "minidistil/kernels/code"  # where kernels/code/shipped.py looks
# clock_gettime is in the C library itself, and no longer in librt, since glibc 2.17.
PLATFORM = "manylinux_2_17"

prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """What building needs beyond setuptools: the compiler, where machine code is to be made; PEP 517."""
    needed = build_meta.get_requires_for_build_wheel(None)
    return [*needed, *_compiler()] if _machine(config_settings) else needed


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Settings = None) -> str:
    """Write what a wheel will say of itself; PEP 517."""
    name = build_meta.prepare_metadata_for_build_wheel(metadata_directory, None)
    if _machine(config_settings):
        path = Path(metadata_directory, name, "METADATA")
        path.write_bytes(_without_compiler(path.read_bytes()))
    return name


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """Make a wheel: of sources, or with machine code; PEP 517."""
    machine = _machine(config_settings)
    if machine is None:
        return build_meta.build_wheel(wheel_directory, None, metadata_directory)
    make_links()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with zipfile.ZipFile(folder / build_meta.build_wheel(temporary)) as plain:
            files = {name: plain.read(name) for name in plain.namelist() if not name.endswith("/")}
        (metadata,) = (name for name in files if name.endswith(".dist-info/METADATA"))
        files[metadata] = _without_compiler(files[metadata])
        for path in libraries.build(machine, folder):
            files[f"{PLACE}/{path.name}"] = path.read_bytes()
    name, _, _ = metadata.partition(".dist-info/")
    return _write(wheel_directory, name, f"py3-none-{PLATFORM}_{machine}", files)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Make a wheel that holds the path of `editable/` and what the project says of itself; PEP 660."""
    make_links()
    with tempfile.TemporaryDirectory() as folder:
        metadata = Path(folder, prepare_metadata_for_build_editable(folder, None))
        name = metadata.name.removesuffix(".dist-info")
        files = {f"__editable__.{name}.pth": f"{EDITABLE}\n".encode()}
        for file in metadata.rglob("*"):
            if file.is_file():
                files[f"{metadata.name}/{file.relative_to(metadata).as_posix()}"] = file.read_bytes()
    return _write(wheel_directory, name, "py3-none-any", files)


def make_links() -> None:
    """Make the links where they are missing: an archive of the sources need not have them, nor a system without."""
    for link, target in LINKS.items():
        if not link.is_dir():
            link.unlink(missing_ok=True)  # where links cannot be, git leaves a file with the target's name
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(target, target_is_directory=True)


def _machine(settings: Settings) -> str | None:
    """The machine that code is to be made for; None for none.

    Raises:
        ValueError: a setting that is not known, or a machine.
    """
    unknown = sorted(set(settings or {}) - {"kernels"})
    if unknown:
        raise ValueError(f"the only setting is kernels, got {unknown}")
    machine = (settings or {}).get("kernels")
    if machine is not None:
        libraries.names(machine)
    return machine


def _compiler() -> list[str]:
    """The requirement on the compiler, as the project states it."""
    lines = (ROOT / "build_backend" / "requirements.txt").read_text().splitlines()
    return [line for line in lines if re.match(rf"{COMPILER}\b", line)]


def _without_compiler(metadata: bytes) -> bytes:
    """The same without that requirement; the extra that asks for it stays."""
    lines = metadata.decode().splitlines(keepends=True)
    gone = [f"Requires-Dist: {requirement}" for requirement in _compiler()]
    kept = [line for line in lines if line.strip() not in gone]
    if len(kept) != len(lines) - 1:
        raise RuntimeError(f"the metadata does not have {gone}")
    return "".join(kept).encode()


def _write(folder: str, name: str, tag: str, files: dict[str, bytes]) -> str:
    """Write a wheel: the same files make the same bytes, at the moment that SOURCE_DATE_EPOCH says."""
    info = f"{name}.dist-info"
    pure = str(tag.endswith("-any")).lower()
    head = f"Wheel-Version: 1.0\nGenerator: minidistil\nRoot-Is-Purelib: {pure}\nTag: {tag}\n"
    files = dict(sorted({**files, f"{info}/WHEEL": head.encode()}.items()))
    files.pop(f"{info}/RECORD", None)
    rows = [f"{file},{_digest(content)},{len(content)}\n" for file, content in files.items()]
    files[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"]).encode()
    moment = time.gmtime(max(int(environ.get("SOURCE_DATE_EPOCH", "0")), 315532800))[:6]  # zip begins in 1980
    wheel = f"{name}-{tag}.whl"
    with zipfile.ZipFile(Path(folder, wheel), "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in files.items():
            entry = zipfile.ZipInfo(file, moment)
            entry.external_attr, entry.compress_type = (0o100644 << 16), zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return wheel


def _digest(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
