"""Packed weights as a file: made once, mapped by every process that loads the model, checked before they are used.

The container is a safetensors file with one float32 tensor, `block`, that starts on a cache line; arrays of other types
lie in it too, in elements of four bytes. Its metadata:

    layout                              of this file, and of the panels in it: how wide their slivers are
    places                              JSON: of each array the first element in `block`, the shape, and the type
    precision                           of the model; and how it came to that, where the checkpoint has another
    config, files, sample, checkpoint   what it was made from (origin.py)
    content                             checksum of `block` (checksum.py)
    header                              BLAKE2b of the header with its length, zeros in the place of these digits

Of a model in another precision than its checkpoint's, the tables of embeddings are there too (packed_model.py).

When a model is loaded, all of this is checked, and the checkpoint compared as origin.py says: what is damaged, or made
from something else, is not used. `minidistil verify` besides packs anew and compares every array.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minidistil._loading import loading
from minidistil.kernels.code import target
from minidistil.weights import limits, origin, quantizing, safetensors_file
from minidistil.weights._storage import map_file
from minidistil.weights.checkpoint import Checkpoint
from minidistil.weights.checksum import checksum
from minidistil.weights.errors import CheckpointError, listing, quoted
from minidistil.weights.file_names import PACKED_FILES
from minidistil.weights.packing import PackedWeights, Place, pack_model
from minidistil.weights.precision import stored_precision
from minidistil.weights.read_model import read_model
from minidistil.weights.small_files import parse_json

_LINE_BYTES = 64
_NO_DIGEST = "0" * 64


def packed_path(checkpoint: Checkpoint, precision: str | None = None) -> Path:
    """Where the packed weights of a checkpoint in a precision are looked for; None for the checkpoint's own."""
    return checkpoint.folder / PACKED_FILES[precision or stored_precision(checkpoint.config)]


def pack_checkpoint(checkpoint: Checkpoint, precision: str | None = None) -> PackedWeights:
    """Pack the model of a checkpoint, all heads, as `save_packed` wants it.

    Args:
        checkpoint: an opened one.
        precision: of PRECISIONS; None for the checkpoint's own.

    Raises:
        CheckpointError: a checkpoint that cannot be read.
        ValueError: a precision that such a model cannot have.
    """
    other = precision not in (None, stored_precision(checkpoint.config))
    return pack_model(read_model(checkpoint, precision=precision), tables=other)


def save_packed(
    packed: PackedWeights,
    checkpoint: Checkpoint,
    path: str | os.PathLike[str] | None = None,
    precision: str | None = None,
) -> Path:
    """Write packed weights for a checkpoint, whole or not at all: they reach the disk before they get their name.

    Args:
        packed: its weights, by `pack_checkpoint`.
        checkpoint: where they come from; what identifies it goes into the file.
        path: the file; None for `packed_path`, where loading looks for it.
        precision: the one in which they are packed; None for the checkpoint's own.

    Returns:
        The path written.

    Raises:
        CheckpointError: the place cannot be written.
    """
    with loading():
        import tempfile  # and random numbers with it: for writing only
    path = packed_path(checkpoint, precision) if path is None else Path(path)
    content = packed.block.data.cast("B")
    source = {"precision": _precision(checkpoint, precision), **origin.describe(checkpoint)}
    header = _header(packed, source, checksum(content))
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                file.write(header)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                file.close()
                Path(file.name).chmod(0o644)
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink()
                raise
    except OSError as error:
        raise CheckpointError(path, f"cannot be written: {error.strerror or error}") from None
    return path


def open_packed(
    checkpoint: Checkpoint, path: str | os.PathLike[str] | None = None, precision: str | None = None
) -> PackedWeights:
    """Map the packed weights of a checkpoint, once header and content are whole and the checkpoint is the one noted.

    Args:
        checkpoint: which the file must have been made from.
        path: the file; None for `packed_path`.
        precision: the one of the model in it; None for the checkpoint's own.

    Raises:
        CheckpointError: missing, damaged, of another layout, precision or checkpoint; says how to make it anew.
    """
    path = packed_path(checkpoint, precision) if path is None else Path(path)
    mapped = map_file(path)
    metadata = _metadata(path, mapped)
    try:
        table = safetensors_file.read_table(path, mapped)
    except CheckpointError as error:
        raise _damaged(path, f" ({error.faults[0]})") from None
    try:
        block = table["block"]
        places = _places(parse_json(metadata["places"].encode()), block.count)
        content, made = metadata["content"], str(metadata["precision"])
        is_from = origin.is_from(metadata, checkpoint)
    except CheckpointError:
        raise
    except (LookupError, AttributeError, TypeError, ValueError):
        raise _damaged(path) from None
    if block.dtype != "F32" or block.offset % _LINE_BYTES:
        raise _damaged(path)
    if made != (wanted := _precision(checkpoint, precision)):
        fault = f"holds weights in {quoted(made)}, wanted are such in {wanted!r}: run `minidistil pack` again"
        raise CheckpointError(path, fault)
    if not is_from:
        fault = f"was made from other weights than those in {checkpoint.folder}: run `minidistil pack` again"
        raise CheckpointError(path, fault)
    with memoryview(mapped) as everything, everything[block.offset :] as stored:
        if checksum(stored) != content:
            raise _damaged(path)
    return PackedWeights(np.frombuffer(mapped, np.float32, block.count, block.offset), places, target.sliver())


def compare_packed(
    checkpoint: Checkpoint, path: str | os.PathLike[str] | None = None, precision: str | None = None
) -> None:
    """Compare the packed weights of a checkpoint with what packing it gives now, bit by bit.

    Args:
        checkpoint: the one beside.
        path: the file; None for `packed_path`.
        precision: the one of the model in it; None for the checkpoint's own.

    Raises:
        CheckpointError: it cannot be used, or differs.
        ValueError: a precision that such a model cannot have.
    """
    path = packed_path(checkpoint, precision) if path is None else Path(path)
    packed, made = open_packed(checkpoint, path, precision), pack_checkpoint(checkpoint, precision)
    differing = [name for name in packed.places if name not in made or not _same_bits(packed[name], made[name])]
    if differing:
        fault = f"holds other weights than the checkpoint: {listing(differing)}; run `minidistil pack` again"
        raise CheckpointError(path, fault)


def _precision(checkpoint: Checkpoint, precision: str | None) -> str:
    """What a file says of its precision: how the checkpoint's own weights came to be others, too."""
    own = stored_precision(checkpoint.config)
    if precision in (None, own):
        return own
    return f"{precision} of {own}" + f", quantized by method {quantizing.VERSION}" * (precision == "int8")


def _same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    return (one.shape, one.dtype) == (other.shape, other.dtype) and np.array_equal(
        one.view(np.uint8), other.view(np.uint8)
    )


def _header(packed: PackedWeights, source: Mapping[str, str], content: str) -> bytes:
    """The file up to the block, with the digest of itself."""
    metadata = {"layout": _layout(packed.sliver), "places": json.dumps(packed.places), **source, "content": content}
    tensor = {"dtype": "F32", "shape": [packed.block.size], "data_offsets": [0, packed.block.nbytes]}
    text = json.dumps({"__metadata__": {**metadata, "header": _NO_DIGEST}, "block": tensor}).encode()
    text += b" " * (-(len(text) + 8) % _LINE_BYTES)
    header = len(text).to_bytes(8, "little") + text
    return header.replace(_NO_DIGEST.encode(), _digest(header))


def _layout(sliver: int) -> str:
    """Of the file's own structure, and of the panels in it: another means that the file must be made anew."""
    return f"3, slivers of {sliver}"


def _digest(header: bytes) -> bytes:
    return hashlib.blake2b(header, digest_size=len(_NO_DIGEST) // 2).hexdigest().encode()


def _metadata(path: Path, mapped: mmap.mmap) -> dict[str, str]:
    """The header's metadata, after a look at its digest: not a bit of it is another than was written."""
    length = 8 + int.from_bytes(mapped[:8], "little")
    if length > min(limits.TABLE_BYTES, len(mapped)):
        raise _damaged(path)
    header = mapped[:length]
    try:
        metadata: Any = parse_json(header[8:])["__metadata__"]
        version, digest = metadata["layout"], metadata["header"].encode()
    except (LookupError, AttributeError, TypeError, ValueError):
        raise CheckpointError(path, "is no file of packed weights: `minidistil pack` makes one") from None
    here = _layout(target.sliver())
    if version != here:
        fault = f"has layout {quoted(str(version))}, read on this CPU is {here!r}: run `minidistil pack` again"
        raise CheckpointError(path, fault)
    if header.count(digest) != 1 or _digest(header.replace(digest, _NO_DIGEST.encode())) != digest:
        raise _damaged(path)
    return metadata


def _places(table: dict[str, Any], count: int) -> dict[str, Place]:
    """Where each array lies in a block of `count` elements of four bytes: inside, and on a cache line.

    Raises:
        LookupError, ValueError, TypeError, AttributeError: they do not, or are of no type of packed arrays.
    """
    places = {name: Place(start, tuple(shape), dtype) for name, (start, shape, dtype) in table.items()}
    for start, shape, _ in places.values():
        if not all(type(n) is int and 0 <= n <= 4 * count for n in (start, *shape)) or len(shape) > 4:
            raise ValueError("no places in the block")
    for place in places.values():
        if place.start + place.size > count or place.start * 4 % _LINE_BYTES:
            raise ValueError("beyond the block, or between cache lines")
    return places


def _damaged(path: Path, why: str = "") -> CheckpointError:
    return CheckpointError(path, f"is damaged{why}: run `minidistil pack` again")
