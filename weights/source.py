"""Where something was loaded from, told so that another process can load the same and see that it is the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minidistil.weights._hub import is_shard, is_small
from minidistil.weights._storage import map_file
from minidistil.weights.checksum import checksum
from minidistil.weights.errors import CheckpointError
from minidistil.weights.file_names import weight_file_names
from minidistil.weights.small_files import is_folder, is_inside, is_there, read_json

State = tuple[str, int, int, int]  # name, size, inode, time of change in nanoseconds


@dataclass(frozen=True)
class Source(os.PathLike[str]):
    """A folder, and how it was found: whatever takes the name of a checkpoint takes one of these.

    Attributes:
        folder: where it lies here.
        name: an absolute folder, `package:NAME` or a hub id.
        hub: options of a hub id, the revision that was found among them; never credentials.
        inside: a folder within what `name` names, or nothing.
    """

    folder: Path
    name: str
    hub: Mapping[str, Any] = field(default_factory=dict)
    inside: str = ""
    _noted: tuple[State, ...] = field(init=False, repr=False, compare=False)
    _identities: dict[bool, str] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_noted", self._states())

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        return str(self.folder)

    def at(self, folder: Path) -> Source:
        """Return the source of this folder or of one within it."""
        if folder == self.folder:
            return self
        inside = Path(self.inside, folder.relative_to(self.folder)).as_posix()
        return Source(folder, self.name, self.hub, inside)

    def identity(self, *, weights: bool) -> str:
        """Return 32 hexadecimal digits that any change of the files changes: of them all, or of all but the weights.

        The checksum of packed weights, which reads at the speed of memory; no defence against people.

        Raises:
            CheckpointError: the files have changed since they were found, so nobody can tell what was loaded.
        """
        if weights not in self._identities:
            whole = hashlib.blake2b(digest_size=16)
            for path in self._files(weights=weights):
                whole.update(f"\0{path.relative_to(self.folder).as_posix()}\0".encode())
                if path.stat().st_size:  # what is empty cannot be mapped
                    with map_file(path) as mapped, memoryview(mapped) as content:
                        whole.update(checksum(content).encode())
            self._identities[weights] = whole.hexdigest()
        self.check()
        return self._identities[weights]

    def check(self) -> None:
        """Raise a CheckpointError where the files are not those that were found."""
        if self._states() != self._noted:
            fault = "has other files now than when they were loaded: load them again, and pickle that"
            raise CheckpointError(self.folder, fault)

    def modules(self) -> Iterator[Path]:
        """Yield the folders that modules.json names. What is wrong with it, say those who read it."""
        path = self.folder / "modules.json"
        try:
            entries = read_json(path) if is_there(path) else []
        except CheckpointError:
            return
        for entry in entries if isinstance(entries, list) else ():
            place = entry.get("path") if isinstance(entry, dict) else None
            if isinstance(place, str) and is_inside(place):
                yield self.folder / place

    def _states(self) -> tuple[State, ...]:
        found = ((path, path.stat()) for path in self._files(weights=True))
        return tuple((str(path), facts.st_size, facts.st_ino, facts.st_mtime_ns) for path, facts in found)

    def _files(self, *, weights: bool) -> Iterator[Path]:
        """What says what a result is: configurations, the tokenizer, modules, and weights as they are read."""
        for folder in dict.fromkeys((self.folder, *self.modules())):
            names = sorted(os.listdir(folder)) if is_folder(folder) else []  # noqa: PTH208 (names are wanted)
            counted = [name for name in names if is_small(name)]
            first = next((name for name in weight_file_names(self.hub.get("variant")) if name in names), None)
            if weights and first is not None:
                counted += [first, *(name for name in names if is_shard(name, of=first))]
            yield from (folder / name for name in counted if (folder / name).is_file())
