"""What `pip install` puts on the disk: a distribution and everything that it requires."""

from __future__ import annotations

import importlib.metadata
from importlib.util import find_spec
from pathlib import Path

# What one needs to turn text into hidden states with each engine.
STACKS: dict[str, tuple[str, ...]] = {
    "minidistil": ("minidistil",),
    "pytorch": ("torch", "transformers"),
    "onnxruntime": ("onnxruntime", "tokenizers"),
    "openvino": ("openvino", "tokenizers"),
}


def installed(names: tuple[str, ...]) -> dict[str, int]:
    """Bytes of each distribution that `names` require, themselves included, where installed; .pyc files not counted."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    sizes: dict[str, int] = {}
    waiting = [Requirement(name) for name in names]
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = str(canonicalize_name(requirement.name))
        key = f"{name}[{','.join(sorted(requirement.extras))}]"
        if key in seen:
            continue
        seen.add(key)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if name not in sizes:
            sizes[name] = _own_bytes() if name == "minidistil" else _bytes(distribution)
        extras = requirement.extras or {""}
        for text in distribution.requires or ():
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return sizes


def _bytes(distribution: importlib.metadata.Distribution) -> int:
    files = (Path(str(distribution.locate_file(f))) for f in distribution.files or () if f.suffix != ".pyc")
    return sum(f.stat().st_size for f in files if f.exists())


def _own_bytes() -> int:
    """This project's own files, wherever they are imported from: an editable install lists none of them."""
    specs = [find_spec(name) for name in ("minidistil", "minidistil.kernels", "minidistil.weights")]
    folders = {Path(place) for spec in specs if spec for place in spec.submodule_search_locations or ()}
    files = {file.resolve() for folder in folders for ending in ("py", "so") for file in folder.rglob(f"*.{ending}")}
    return sum(file.stat().st_size for file in files)
