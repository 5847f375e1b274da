"""What `pip install` puts on the disk: a distribution and everything that it requires."""

from __future__ import annotations

import importlib.metadata
import json
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
            sizes[name] = _bytes(distribution)
        extras = requirement.extras or {""}
        for text in distribution.requires or ():
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return sizes


def _bytes(distribution: importlib.metadata.Distribution) -> int:
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):  # its files stand in the checkout
        root = Path(origin["url"].removeprefix("file://"))
        folders = [root / name for name in ("minidistil", "kernels", "weights")]
        return sum(f.stat().st_size for folder in folders for f in folder.rglob("*.py"))
    files = (Path(str(distribution.locate_file(f))) for f in distribution.files or () if f.suffix != ".pyc")
    return sum(f.stat().st_size for f in files if f.exists())
