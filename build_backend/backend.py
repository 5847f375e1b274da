"""The build backend: setuptools', with an editable install that type checkers follow.

`kernels/` and `weights/` stand beside `minidistil/` and install below it. setuptools would map folders to names in an
import hook, which no type checker runs. Links say the same to everybody: `minidistil/kernels` and `minidistil/weights`
in the package, and `editable/minidistil`, alone in its folder, so that a line in a .pth file can name that folder
without putting `kernels`, `tests` or `docs` on anybody's path.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from setuptools.build_meta import (
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

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

ROOT = Path(__file__).resolve().parents[1]
EDITABLE = ROOT / "build_backend" / "editable"
LINKS = {
    ROOT / "minidistil" / "kernels": "../kernels",
    ROOT / "minidistil" / "weights": "../weights",
    EDITABLE / "minidistil": "../../minidistil",
}


def build_editable(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Make a wheel that holds the path of `editable/` and the metadata; PEP 660."""
    make_links()
    with tempfile.TemporaryDirectory() as folder:
        metadata = Path(folder, prepare_metadata_for_build_editable(folder, config_settings))
        name = metadata.name.removesuffix(".dist-info")
        files = {f"__editable__.{name}.pth": f"{EDITABLE}\n".encode()}
        for file in sorted(path for path in metadata.rglob("*") if path.is_file()):
            files[f"{metadata.name}/{file.relative_to(metadata).as_posix()}"] = file.read_bytes()
    kind = "Wheel-Version: 1.0\nGenerator: minidistil\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{metadata.name}/WHEEL"] = kind.encode()
    record = f"{metadata.name}/RECORD"
    rows = [f"{file},{_digest(text)},{len(text)}\n" for file, text in files.items()]
    files[record] = "".join([*rows, f"{record},,\n"]).encode()
    wheel = f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory, wheel), "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return wheel


def make_links() -> None:
    """Make the links where they are missing: an archive of the sources need not have them, nor a system without."""
    for link, target in LINKS.items():
        if not link.is_dir():
            link.unlink(missing_ok=True)  # where links cannot be, git leaves a file with the target's name
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(target, target_is_directory=True)


def _digest(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
