"""Packed weights as a file: made once, mapped by every process that loads the model, checked against its checkpoint.

The container is a safetensors file with one float32 tensor, `block`, that starts on a cache line; the header's metadata
says what lies where in it, for which layout of panels, and for which checkpoint.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path

import numpy as np

from minidistil.kernels import layout
from minidistil.weights import safetensors_file
from minidistil.weights._storage import map_file
from minidistil.weights.checkpoint import Checkpoint
from minidistil.weights.errors import CheckpointError
from minidistil.weights.file_names import PACKED_FILE
from minidistil.weights.packing import PackedWeights

_LINE_BYTES = 64
# Of the file's own structure, and of the panels in it: other numbers mean that the file must be made anew.
_LAYOUT = f"1, panels of {layout.PANEL}"


def save_packed(packed: PackedWeights, checkpoint: Checkpoint, path: str | os.PathLike[str] | None = None) -> Path:
    """Write packed weights for a checkpoint, whole or not at all.

    Args:
        packed: its weights, by `pack_model`.
        checkpoint: where they come from; its digest goes into the file.
        path: the file; None for PACKED_FILE in the checkpoint's folder, where loading looks for it.

    Returns:
        The path written.

    Raises:
        CheckpointError: the place cannot be written.
    """
    path = checkpoint.folder / PACKED_FILE if path is None else Path(path)
    metadata = {
        "layout": _LAYOUT,
        "checkpoint": checkpoint.digest(),
        "stamp": _stamp(checkpoint),
        "places": json.dumps(packed.places),
    }
    tensor = {"dtype": "F32", "shape": [packed.block.size], "data_offsets": [0, packed.block.nbytes]}
    header = json.dumps({"__metadata__": metadata, "block": tensor}).encode()
    header += b" " * (-(len(header) + 8) % _LINE_BYTES)
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                file.write(len(header).to_bytes(8, "little") + header)
                file.write(packed.block.data.cast("B"))
                file.close()
                Path(file.name).chmod(0o644)
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink()
                raise
    except OSError as error:
        raise CheckpointError(path, f"cannot be written: {error.strerror or error}") from None
    return path


def open_packed(checkpoint: Checkpoint, path: str | os.PathLike[str] | None = None) -> PackedWeights:
    """Map the packed weights of a checkpoint.

    The checkpoint's files are compared by size and time of change first; only where those differ (after a copy, say)
    by their content.

    Args:
        checkpoint: which the file must have been made from.
        path: the file; None for PACKED_FILE in the checkpoint's folder.

    Raises:
        CheckpointError: missing, damaged, of another layout, or of another checkpoint; says how to make it anew.
    """
    path = checkpoint.folder / PACKED_FILE if path is None else Path(path)
    mapped = map_file(path)
    table = safetensors_file.read_table(path, mapped)
    try:
        metadata = json.loads(mapped[8 : 8 + int.from_bytes(mapped[:8], "little")])["__metadata__"]
        places = {name: (int(start), tuple(shape)) for name, (start, shape) in json.loads(metadata["places"]).items()}
        layout, stamp, digest = metadata["layout"], metadata["stamp"], metadata["checkpoint"]
        block = table["block"]
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(path, "is no file of packed weights: `minidistil pack` makes one") from None
    if layout != _LAYOUT:
        raise CheckpointError(
            path, f"has layout {layout!r}, this version reads {_LAYOUT!r}: run `minidistil pack` again"
        )
    inside = all(
        min(start, *shape) >= 0 and start + math.prod(shape) <= block.count for start, shape in places.values()
    )
    if block.dtype != "F32" or block.offset % _LINE_BYTES or not inside:
        raise CheckpointError(path, "is damaged: run `minidistil pack` again")
    if stamp != _stamp(checkpoint) and digest != checkpoint.digest():
        fault = f"was made from other weights than those in {checkpoint.folder}: run `minidistil pack` again"
        raise CheckpointError(path, fault)
    return PackedWeights(np.frombuffer(mapped, np.float32, block.count, block.offset), places)


def _stamp(checkpoint: Checkpoint) -> str:
    """Name, size and time of change of every file of the checkpoint."""
    files = [checkpoint.folder / "config.json", *checkpoint.files]
    stats = [(file.name, file.stat()) for file in files]
    return json.dumps([[name, s.st_size, s.st_mtime_ns] for name, s in stats])
