"""Copies of a checkpoint: written whole or not at all, in the formats that others read."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minidistil._loading import loading
from minidistil.weights import safetensors_file
from minidistil.weights.checkpoint import Checkpoint
from minidistil.weights.disk import sync_folder
from minidistil.weights.errors import CheckpointError, quoted
from minidistil.weights.file_names import WEIGHT_FILES, weight_file_names
from minidistil.weights.small_files import read_bytes, read_object_if_there
from minidistil.weights.source import Source

Content = bytes | Path | Mapping[str, np.ndarray]
"""Of a file: itself, one like it, or tensors, of which uint16 are the bits of bfloat16."""

# Without the first of these that is written, nobody takes a folder for a checkpoint or a tokenizer: it comes last.
_DECISIVE = ("config.json", "tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")
_INDENT = 2  # as transformers writes JSON


def save(folder: str | os.PathLike[str], files: Mapping[str, Content], replaces: Collection[str] = ()) -> list[str]:
    """Write files into a folder: all of them, or, where that is interrupted, none that anybody takes for whole.

    They reach the disk in a folder of their own. Then the file without which nothing is loaded is taken away, where
    there is one; the others get their places, and it comes last.

    Args:
        folder: made where it is not there.
        files: by name; `1_Pooling/config.json` is one.
        replaces: names of files that are removed where `files` has none of that name: they would be read with these.

    Returns:
        The paths written.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    target = Path(folder)
    last = next((name for name in _DECISIVE if name in files), None)
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".saving-") as made:
            for name, content in files.items():
                _write(Path(made, name), content)
            for name in (*replaces, *([last] if last else [])):
                if name == last or name not in files:
                    (target / name).unlink(missing_ok=True)
            sync_folder(target)
            for name in sorted(files, key=lambda name: name == last):
                (target / name).parent.mkdir(exist_ok=True)
                if name == last:
                    for place in {(target / other).parent for other in files}:
                        sync_folder(place)
                Path(made, name).replace(target / name)
            sync_folder(target)
    except OSError as error:
        raise CheckpointError(target, f"cannot be written: {error.strerror or error}") from None
    return [str(target / name) for name in files]


def as_json(content: Mapping[str, Any] | list[Any], like: Path | None = None) -> bytes:
    """A file of JSON; the bytes of `like` where that says the same."""
    if like is not None and read_object_if_there(like) == content:
        return read_bytes(like, like.stat().st_size)
    return (json.dumps(content, indent=_INDENT, ensure_ascii=False) + "\n").encode()


def weight_files(folder: Path | Source) -> dict[str, Content]:
    """The weights of a folder as they are to be saved: safetensors as they are, others made into such.

    Those of a variant are saved under the names that readers look for.
    """
    names = weight_file_names(folder.hub.get("variant") if isinstance(folder, Source) else None)
    whole, index, *_ = (Path(folder) / name for name in names)
    if not any((whole.parent / name).exists() for name in names):
        return {}
    stored = Checkpoint(folder)
    if all(path.suffix == ".safetensors" for path in stored.files):
        if stored.files == (whole,):
            return {WEIGHT_FILES[0]: whole}
        return {WEIGHT_FILES[1]: index, **{path.name: path for path in stored.files}}
    return {WEIGHT_FILES[0]: {name: stored.read_stored(name) for name in _without_ties(stored)}}


def _without_ties(stored: Checkpoint) -> list[str]:
    """The tensors, of those that are one in the file the one that readers tie the others to."""
    if stored.config.get("tie_word_embeddings", True) is not True:
        return list(stored.names)
    same: dict[Any, list[str]] = defaultdict(list)
    for name in stored.names:
        same[stored.storage(name)].append(name)

    def of_a_head(name: str) -> tuple[bool, bool, int]:
        module = name.rpartition(".")[0]  # whose weight may be int8 and have scales
        return not module.endswith("word_embeddings"), ".decoder." in name, len(name)

    return sorted(min(names, key=of_a_head) for names in same.values())


def _write(path: Path, content: Content) -> None:
    path.parent.mkdir(exist_ok=True)
    if isinstance(content, Path):
        shutil.copyfile(content, path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        _write_tensors(path, {name: np.ascontiguousarray(x) for name, x in content.items()})
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _write_tensors(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    metadata = {"format": "pt"}  # transformers asks for it
    if any(array.dtype == np.uint16 for array in arrays.values()):
        safetensors_file.write_bits(path, arrays, metadata)
        return
    with loading():
        from safetensors import SafetensorError
        from safetensors.numpy import save_file
    path.touch()
    mode = path.stat().st_mode  # what a new file gets here; save_file would leave the owner alone to read it
    try:
        save_file(dict(arrays), path, metadata=metadata)
        path.chmod(mode)
    except SafetensorError as error:
        raise OSError(quoted(str(error))) from None
