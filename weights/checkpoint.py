"""A checkpoint folder, opened: config.json, and every stored tensor by name."""

from __future__ import annotations

import copy
import hashlib
import mmap
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidistil._loading import loading
from minidistil.weights import limits, safetensors_file
from minidistil.weights._storage import (
    DTYPE_BITS,
    READABLE,
    StoredTensor,
    map_file,
    read_bits,
    read_float32,
    read_stored,
)
from minidistil.weights.errors import CheckpointError, listing, quoted
from minidistil.weights.file_names import WEIGHT_FILES, weight_file_names
from minidistil.weights.locate import find
from minidistil.weights.options import HubOptions, spelled_out
from minidistil.weights.small_files import is_folder, is_inside, is_there, read_bytes, read_object
from minidistil.weights.source import Source

if TYPE_CHECKING:
    from typing_extensions import Unpack

_DIGEST_BLOCK = 8 << 20
_SAMPLE = 4096
_OTHER_FORMATS = ("tf_model.h5", "flax_model.msgpack", "model.onnx")

_Tables = dict[str, tuple[mmap.mmap, StoredTensor]]


@spelled_out(HubOptions)
def open_checkpoint(name_or_path: str | os.PathLike[str], **options: Unpack[HubOptions]) -> Checkpoint:
    """Find a checkpoint, map its weight files and check their tables of contents.

    Args:
        name_or_path: see `locate`.
        **options: `HubOptions`.

    Raises:
        CheckpointError: not found; or config.json and weight files with everything that is wrong with them.
    """
    return Checkpoint(find(name_or_path, **options))


class Checkpoint:
    """A folder with config.json and weights: safetensors where there are any, else pytorch_model.bin; or shards.

    Weight files are mapped, not read; the maps close with the object and the arrays that view them. As with any map, a
    file must stay as it is while it is in use: written over, it changes results; cut short, it ends the process
    (SIGBUS). Replace it by renaming another over it.

    Attributes:
        folder: where it lies.
        config: the content of config.json.
        names: every stored tensor, sorted.
        files: the weight files.
        source: how the folder was found.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.source = folder if isinstance(folder, Source) else Source(self.folder, str(self.folder.absolute()))
        faults: list[str] = []
        self.config: dict[str, Any] = _collect(faults, self.folder, partial(read_config, self.folder)) or {}
        self.names: tuple[str, ...] = ()
        self.files: tuple[Path, ...] = ()
        self._maps: dict[Path, mmap.mmap] = {}
        self._states: dict[Path, dict[str, Any]] = {}
        self._tensors: _Tables = {}
        names = weight_file_names(self.source.hub.get("variant"))
        weights = next((self.folder / name for name in names if is_there(self.folder / name)), None)
        if weights is None:
            faults.append(_no_weights(self.folder, names))
        elif weights.suffix == ".json":
            _collect(faults, self.folder, partial(self._open_shards, weights, faults))
        else:
            _collect(faults, self.folder, partial(self._open_file, weights, faults))
        if faults:
            raise CheckpointError(self.folder, faults)
        self.names = tuple(sorted(self._tensors))
        self._digest: str | None = None

    def with_config(self, config: Mapping[str, Any]) -> Checkpoint:
        """The same files, read by another configuration."""
        other = copy.copy(self)
        other.config = dict(config)
        return other

    def stored(self, name: str) -> tuple[str, tuple[int, ...]]:
        """Element type (F32, F16, BF16, I64, ...) and shape of a tensor as stored; KeyError where there is none."""
        tensor = self._tensors[name][1]
        return tensor.dtype, tensor.shape

    def read(self, name: str) -> np.ndarray:
        """A tensor as float32, C-contiguous and read-only: a view of the file where it is stored so, else a copy.

        Raises:
            KeyError: there is no such tensor.
            CheckpointError: it is not stored as floating point numbers.
        """
        mapped, tensor = self._tensors[name]
        if tensor.dtype not in READABLE:
            fault = f"{quoted(name)} is stored as {tensor.dtype}; weights are read from {', '.join(READABLE)}"
            raise CheckpointError(self.folder, fault)
        return read_float32(mapped, tensor)

    def read_bits(self, name: str) -> np.ndarray:
        """A tensor of BF16 as its bits, uint16, C-contiguous and read-only: a view of the file where it can be."""
        mapped, tensor = self._tensors[name]
        if tensor.dtype != "BF16":
            raise CheckpointError(self.folder, f"{quoted(name)} is stored as {tensor.dtype}, not as BF16")
        return read_bits(mapped, tensor)

    def read_stored(self, name: str) -> np.ndarray:
        """A tensor in the element type that it is stored in, or float32 for bfloat16, which NumPy lacks."""
        return read_stored(*self._tensors[name])

    def storage(self, name: str) -> tuple[int, StoredTensor]:
        """Where a tensor lies: the same for two names that are two entries for the same bytes of the same file."""
        mapped, tensor = self._tensors[name]
        return id(mapped), tensor

    def same_storage(self, one: str, other: str) -> bool:
        """Whether two names are two entries for the same bytes of the same file."""
        return self._tensors[one] == self._tensors[other]

    def digest(self) -> str:
        """64 hexadecimal digits that identify config.json and the weight files: any byte changed changes it.

        SHA-256 over the digests of blocks, hashed on all processors (1.8 GB/s a core where the CPU has SHA
        instructions); computed once.
        """
        if self._digest is None:
            whole = hashlib.sha256(read_bytes(self.folder / "config.json", limits.JSON_BYTES))
            with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
                for path in self.files:
                    with memoryview(self._maps[path]) as content:
                        blocks = [content[i : i + _DIGEST_BLOCK] for i in range(0, len(content), _DIGEST_BLOCK)]
                        whole.update(f"\0{path.name}\0{len(content)}\0".encode())
                        for block_digest in pool.map(lambda block: hashlib.sha256(block).digest(), blocks):
                            whole.update(block_digest)
                        for block in blocks:
                            block.release()
            self._digest = whole.hexdigest()
        return self._digest

    def sample(self) -> str:
        """64 hexadecimal digits of the tables of contents, and of the first, middle and last 4 KiB of every tensor."""
        whole = hashlib.sha256()
        for name in self.names:
            mapped, tensor = self._tensors[name]
            size = tensor.count * DTYPE_BITS[tensor.dtype] // 8
            whole.update(repr((name, tensor)).encode())
            for start in sorted({0, max(0, size // 2 - _SAMPLE // 2), max(0, size - _SAMPLE)}):
                whole.update(mapped[tensor.offset + start : tensor.offset + min(size, start + _SAMPLE)])
        return whole.hexdigest()

    def states(self) -> list[dict[str, Any]]:
        """Of each weight file its name, size, inode, and times of change of content and status in nanoseconds.

        Empty for a file that was exchanged while it was opened.
        """
        return [self._states[path] for path in self.files]

    def __repr__(self) -> str:
        return f"Checkpoint({str(self.folder)!r}, {len(self.names)} tensors)"

    def _open_file(self, path: Path, faults: list[str]) -> None:
        before = _state(path)
        mapped = map_file(path)
        self._states[path] = before if before == _state(path) else {}
        if path.suffix == ".safetensors":
            table = safetensors_file.read_table(path, mapped)
        else:
            with loading():  # archives and pickles, which most processes never meet
                from minidistil.weights import torch_file
            table = torch_file.read_table(path, mapped)
        twice = sorted(table.keys() & self._tensors.keys())
        if twice:
            faults.append(f"{path.name} repeats tensors of another shard: {listing(twice)}")
        self.files += (path,)
        self._maps[path] = mapped
        self._tensors.update({name: (mapped, tensor) for name, tensor in table.items()})
        if len(self._tensors) > limits.TENSORS:
            raise CheckpointError(path, f"is one file too many: {limits.TENSORS} tensors are the most accepted")

    def _open_shards(self, index: Path, faults: list[str]) -> None:
        weight_map = read_object(index).get("weight_map")
        if (
            not isinstance(weight_map, dict)
            or not weight_map
            or not all(isinstance(v, str) for v in weight_map.values())
        ):
            raise CheckpointError(index, "has no weight_map from tensor names to files")
        contents: dict[str, list[str]] = defaultdict(list)
        for name, shard in weight_map.items():
            contents[shard].append(name)
        if len(contents) > limits.SHARDS:
            raise CheckpointError(index, f"names {len(contents)} files; {limits.SHARDS} are the most accepted")
        for shard, names in sorted(contents.items()):
            if not is_inside(shard) or shard != Path(shard).name or not shard.endswith(index.name.split(".")[1]):
                faults.append(f"{index.name} names {quoted(shard)}, which is no weight file of this folder")
            elif not is_there(self.folder / shard):
                faults.append(f"shard {quoted(shard)} is absent ({index.name} puts {len(names)} tensors into it)")
            else:
                _collect(faults, self.folder, partial(self._open_file, self.folder / shard, faults))
                absent = [name for name in names if name not in self._tensors]
                if absent and self.folder / shard in self._maps:
                    faults.append(f"{shard} lacks tensors that {index.name} puts into it: {listing(absent)}")


def _state(path: Path) -> dict[str, Any]:
    try:
        facts = path.stat()
    except OSError:  # map_file says it
        return {}
    times = {"changed": facts.st_mtime_ns, "status": facts.st_ctime_ns}
    return {"name": path.name, "size": facts.st_size, "inode": facts.st_ino, **times}


def read_config(folder: Path) -> dict[str, Any]:
    """The content of a folder's config.json; CheckpointError where it is missing or no JSON object."""
    return read_object(folder / "config.json")


def _collect(faults: list[str], folder: Path, step: Callable[[], Any]) -> Any:
    """Run a step; its faults go to the list, behind the name of the file that has them."""
    try:
        return step()
    except CheckpointError as error:
        where = Path(error.where)
        name = where.relative_to(folder) if where.is_relative_to(folder) else where
        faults += [f"{name} {fault}" if fault.startswith(_VERBS) else f"{name}: {fault}" for fault in error.faults]
        return None


_VERBS = ("is ", "has ", "was ", "holds ", "cannot ")


def _no_weights(folder: Path, names: tuple[str, ...]) -> str:
    if not is_folder(folder):
        return "no such folder"
    other = [name for name in _OTHER_FORMATS if is_there(folder / name)]
    hint = f"; {other[0]} is there, which is not read: convert it to safetensors" if other else ""
    for name in sorted(os.listdir(folder)):  # noqa: PTH208 (names are wanted)
        variant = name.split(".")[-2] if name.count(".") > 1 else ""
        if names == WEIGHT_FILES and name in weight_file_names(variant):
            hint = f'; {quoted(name)} is there: variant="{quoted(variant)}" reads it'
    return f"no weights: none of {', '.join(names)}{hint}"
