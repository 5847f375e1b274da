"""Packed weights that are damaged, made of something else, or made up: never used, and loading goes on without them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil.backends.choose import packed_beside
from minidistil.kernels.code import shipped, target
from minidistil.weights import Checkpoint, CheckpointError, checkpoint, open_checkpoint, read_model
from minidistil.weights.checksum import checksum
from minidistil.weights.file_names import PACKED_FILE
from minidistil.weights.packed_file import compare_packed, open_packed, save_packed
from minidistil.weights.packing import is_packed_from, pack_model
from tests.bits import assert_same_bits
from tests.synthetic import DISTILBERT_SMALL, tensors, write_checkpoint, write_tensors

IDS = np.arange(20)[None]
RNG = np.random.default_rng(9)


@pytest.fixture
def folder(distilbert_small: Path, tmp_path: Path) -> Path:
    """A checkpoint with its packed weights."""
    copy = Path(shutil.copytree(distilbert_small, tmp_path / "model"))
    opened = open_checkpoint(copy)
    save_packed(pack_model(read_model(opened)), opened)
    return copy


@pytest.fixture(scope="module")
def want(distilbert_small: Path) -> np.ndarray:
    return minidistil.load(distilbert_small, threads=1)(IDS).logits


def refused(folder: Path, message: str) -> None:
    """It is not opened; loading says so, and goes on."""
    with pytest.raises(CheckpointError, match=message) as caught:
        open_packed(open_checkpoint(folder))
    assert caught.value.where == str(folder / PACKED_FILE)


def loads(folder: Path, want: np.ndarray, message: str) -> None:
    with pytest.warns(RuntimeWarning, match=f"{message}.*; until then the weights are packed in memory"):
        model = minidistil.load(folder, threads=1)
    assert_same_bits(model(IDS).logits, want)


def header_of(path: Path) -> int:
    with path.open("rb") as file:
        return 8 + int.from_bytes(file.read(8), "little")


def test_a_bit_anywhere_is_enough(folder: Path) -> None:
    """One in every byte of the header, and 311 of the weights."""
    path, opened = folder / PACKED_FILE, open_checkpoint(folder)
    header, size = header_of(path), path.stat().st_size
    bits = [*range(64), *(8 * byte + int(RNG.integers(8)) for byte in range(8, header))]
    bits += [int(bit) for bit in RNG.integers(8 * header, 8 * size, 311)]
    with path.open("r+b", buffering=0) as file:
        for bit in bits:
            file.seek(bit // 8)
            (byte,) = file.read(1)
            file.seek(bit // 8)
            file.write(bytes([byte ^ 1 << bit % 8]))
            with pytest.raises(CheckpointError):
                open_packed(opened)
            file.seek(bit // 8)
            file.write(bytes([byte]))
    open_packed(opened)


def test_loading_goes_on_after_a_flipped_bit(folder: Path, want: np.ndarray) -> None:
    path = folder / PACKED_FILE
    whole, header = path.read_bytes(), header_of(path)
    for byte in (0, 3, 9, *RNG.integers(8, header, 40), header, *RNG.integers(header, len(whole), 5), len(whole) - 1):
        flipped = bytearray(whole)
        flipped[byte] ^= 1 << int(RNG.integers(8))
        path.write_bytes(flipped)
        loads(folder, want, "run `minidistil pack` again|`minidistil pack` makes one")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-64],
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data[:2000],
        lambda data: data[:5],
        lambda data: data + b"\0",
        lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
        lambda data: data[:8192] + bytes(4096) + data[12288:],
    ],
    ids=["a line", "a byte", "half", "header", "length", "longer", "half zeros", "a page of zeros"],
)
def test_cut_and_lost(folder: Path, want: np.ndarray, damage: Callable[[bytes], bytes]) -> None:
    path = folder / PACKED_FILE
    path.write_bytes(damage(path.read_bytes()))
    refused(folder, r"is damaged.*: run `minidistil pack` again")
    loads(folder, want, str(path))


@pytest.mark.parametrize(
    ("replace", "message"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: shutil.copy(path.parent / "model.safetensors", path), "is no file of packed weights"),
        (lambda path: path.write_bytes(RNG.bytes(5000)), "is damaged"),
    ],
    ids=["empty", "a checkpoint", "noise"],
)
def test_something_else(folder: Path, want: np.ndarray, replace: Callable[[Path], Any], message: str) -> None:
    replace(folder / PACKED_FILE)
    refused(folder, message)
    loads(folder, want, message)


# -- made up: a header that is right in itself -----------------------------------------------------------------------


def craft(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], Any], beyond: int = 0) -> None:
    """Change metadata and places, or what the header says of the block, and put all digests right.

    The block begins so many bytes beyond the start of a cache line.
    """
    data = path.read_bytes()
    end = header_of(path)
    header = json.loads(data[8:end])
    metadata = header["__metadata__"]
    places = json.loads(metadata["places"])
    unchanged = metadata["places"]
    change(metadata, places)
    if metadata.get("places") is unchanged:
        metadata["places"] = json.dumps(places)
    header.update(metadata.pop("tensors", {}))
    metadata |= {"content": checksum(data[end:]), "header": "0" * 64}
    text = json.dumps(header).encode()
    text += b" " * ((beyond - len(text) - 8) % 64)
    head = len(text).to_bytes(8, "little") + text
    digest = hashlib.blake2b(head, digest_size=32).hexdigest().encode()
    path.write_bytes(head.replace(b"0" * 64, digest) + data[end:])


def test_what_is_crafted_rightly_is_read(folder: Path) -> None:
    craft(folder / PACKED_FILE, lambda metadata, places: None)
    open_packed(open_checkpoint(folder))


def set_place(start: object, shape: object, dtype: object = "F32") -> Callable:
    return lambda metadata, places: places.update({"layer.0.lin1.bias": [start, shape, dtype]})


def set_text(**values: object) -> Callable:
    return lambda metadata, places: metadata.update(values)


@pytest.mark.parametrize(
    "change",
    [
        set_place(1, [480]),
        set_place(8, [480]),
        set_place(-16, [480]),
        set_place(16.0, [480]),
        set_place("16", [480]),
        set_place(True, [480]),
        set_place(None, [480]),
        set_place(1 << 40, [480]),
        set_place(16, [1 << 62]),
        set_place(16, [1 << 32, 1 << 32]),
        set_place(16, [-1, -480]),
        set_place(16, [480.0]),
        set_place(16, "480"),
        set_place(16, 480),
        set_place(16, [1] * 40),
        set_place(16, None),
        set_place(16, [480], "F16"),
        set_place(16, [480], 4),
        set_place(16, [480], ["F32"]),
        set_place(16, [480], None),
        lambda metadata, places: places.update(a=[max(start for start, _, _ in places.values()), [2000], "F32"]),
        lambda metadata, places: places.update(a=[max(start for start, _, _ in places.values()), [1 << 13], "I8"]),
        lambda metadata, places: places.update(a=[16, [480]]),
        set_text(places="{}x"),
        set_text(places="[1, 2]"),
        set_text(places="[" * 100_000),
        set_text(places='{"a": []}'),
        set_text(places='{"a": 3}'),
        set_text(places='{"a": [0, [' + "9" * 5000 + "]]}"),
        set_text(places=7),
        set_text(files="{}x"),
        set_text(files="7"),
        set_text(files="null"),
        set_text(files='["name"]'),
        set_text(files=None),
        lambda metadata, places: metadata.pop("places"),
        lambda metadata, places: metadata.pop("files"),
        lambda metadata, places: metadata.pop("config"),
    ],
)
def test_nothing_made_up_becomes_an_address(folder: Path, want: np.ndarray, change: Callable) -> None:
    craft(folder / PACKED_FILE, change)
    refused(folder, r"is damaged.*: run `minidistil pack` again")
    loads(folder, want, r"is damaged.*: run `minidistil pack` again")


@pytest.mark.parametrize("kind", ["integers", "halves of lines", "none"])
def test_another_tensor_than_the_block(folder: Path, want: np.ndarray, kind: str) -> None:
    path = folder / PACKED_FILE
    size = path.stat().st_size - header_of(path)

    def tensor(dtype: str, begin: int, end: int) -> dict[str, Any]:
        return {"dtype": dtype, "shape": [(end - begin) // 4], "data_offsets": [begin, end]}

    tensors = {
        "integers": {"block": tensor("I32", 0, size)},
        "halves of lines": {},
        "none": {"__metadata__": 0},
    }[kind]
    beyond = 32 if kind == "halves of lines" else 0
    craft(path, lambda metadata, places: metadata.update(tensors=tensors), beyond=beyond)
    assert header_of(path) % 64 == beyond
    refused(folder, r"is damaged|is no file of packed weights")
    loads(folder, want, r"is damaged|is no file of packed weights")


@pytest.mark.parametrize(
    "change",
    [
        lambda metadata, places: places.pop("layer.0.lin1.bias"),
        lambda metadata, places: places["layer.0.lin1.weight"][1].reverse(),
        lambda metadata, places: places.update({"vocab_projector.bias": [0, [48], "F32"]}),
        lambda metadata, places: places["layer.0.lin1.weight"].__setitem__(2, "I32"),
        lambda metadata, places: places.clear(),
    ],
    ids=["absent", "shape", "short", "type", "none"],
)
def test_arrays_that_are_not_the_models_are_packed_anew(folder: Path, want: np.ndarray, change: Callable) -> None:
    craft(folder / PACKED_FILE, change)
    open_packed(open_checkpoint(folder))
    assert_same_bits(minidistil.load(folder, threads=1)(IDS).logits, want)


@pytest.mark.parametrize("layout", ["1, panels of 48", "3, panels of 48", "4, slivers of 48", 2, None])
def test_another_version(folder: Path, want: np.ndarray, layout: object) -> None:
    craft(folder / PACKED_FILE, lambda metadata, places: metadata.update(layout=layout))
    here = f"3, slivers of {target.sliver()}"
    message = f"has layout {layout}, read on this CPU is '{here}': run `minidistil pack` again"
    refused(folder, message)
    loads(folder, want, message)


def test_of_a_cpu_with_another_tile(folder: Path, want: np.ndarray) -> None:
    """A folder that two machines share; and weights in memory that are not for the code here."""
    here, opened = target.sliver(), open_checkpoint(folder)
    for sliver in {tile.sliver for tile in target.TILES.values()} - {here}:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(target, "sliver", lambda sliver=sliver: sliver)
            save_packed(pack_model(read_model(opened)), opened)
            there = open_packed(opened)
        message = f"has layout 3, slivers of {sliver}, read on this CPU is '3, slivers of {here}'"
        refused(folder, message)
        loads(folder, want, message)
        assert not is_packed_from(there, read_model(opened))
    assert is_packed_from(pack_model(read_model(opened)), read_model(opened))


def test_where_no_code_can_be_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing tells how panels are read there: the file is left alone, and making the engine says why there is none."""
    for made in target.target, target.compiler_target:
        made.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(shipped, "choice", lambda: shipped.Choice(None, "no library is here"))
        patch.setitem(sys.modules, "llvmlite", None)
        with pytest.raises(shipped.Unavailable, match="llvmlite is not installed, and no library is here"):
            target.sliver()
        assert packed_beside("engine", open_checkpoint(folder)) is None
    assert packed_beside("engine", open_checkpoint(folder)) is not None


# -- of another checkpoint -------------------------------------------------------------------------------------------


def other_logits(folder: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = minidistil.load(folder, threads=1)(IDS).logits
    (folder / PACKED_FILE).unlink()
    alone = minidistil.load(folder, threads=1)(IDS).logits
    assert_same_bits(found, alone)
    return alone


@pytest.mark.parametrize("how", ["written over", "renamed over", "with another time"])
def test_other_weights_of_the_same_size_and_time(folder: Path, want: np.ndarray, how: str) -> None:
    """As `cp -p`, `rsync -t` and images leave them."""
    path = folder / "model.safetensors"
    before = path.stat()
    other = write_checkpoint(folder.with_name("other"), DISTILBERT_SMALL, seed=7) / "model.safetensors"
    if how == "written over":
        path.write_bytes(other.read_bytes())
    else:
        other.replace(path)
    os.utime(path, ns=(1, before.st_mtime_ns + 5 * (how == "with another time")))
    after = path.stat()
    assert (after.st_size, after.st_ino == before.st_ino) == (before.st_size, how == "written over")
    refused(folder, "made from other weights")
    with pytest.warns(RuntimeWarning, match="made from other weights"):
        minidistil.load(folder, threads=1)
    assert not np.array_equal(other_logits(folder), want)


def replace_values(folder: Path, name: str, which: slice) -> None:
    """Put a file in place that differs in some values of one tensor; of the same size and time."""
    before = (folder / "model.safetensors").stat()
    arrays = {key: array.copy() for key, array in tensors(DISTILBERT_SMALL).items()}
    arrays[name].reshape(-1)[which] += 1
    other = write_tensors(folder.with_name("other"), DISTILBERT_SMALL, arrays)
    os.utime(other / "model.safetensors", ns=(1, before.st_mtime_ns))
    (other / "model.safetensors").replace(folder / "model.safetensors")


@pytest.mark.parametrize("name", [name for name in tensors(DISTILBERT_SMALL) if "layer.1" in name])
def test_one_other_tensor_of_the_same_size_and_time(folder: Path, name: str) -> None:
    replace_values(folder, name, slice(None))
    refused(folder, "made from other weights")


@pytest.mark.parametrize("part", [slice(1), slice(8192, 8193), slice(-1, None)], ids=["first", "middle", "last"])
def test_the_parts_of_a_tensor_that_are_compared(folder: Path, part: slice) -> None:
    replace_values(folder, "distilbert.transformer.layer.0.attention.q_lin.weight", part)
    refused(folder, "made from other weights")


def test_a_few_other_numbers_are_for_verify_to_find(folder: Path) -> None:
    """In a copy that kept its time three parts of each tensor are compared; the engine's weights all, by verify."""

    name = "distilbert.transformer.layer.0.attention.q_lin.weight"
    compare_packed(open_checkpoint(folder))
    replace_values(folder, name, slice(5000, 5010))
    opened = open_checkpoint(folder)
    open_packed(opened)
    with pytest.raises(CheckpointError, match=r"holds other weights than the checkpoint: layer\.0\.qkv\.weight; run"):
        compare_packed(opened)


def test_another_configuration(folder: Path) -> None:
    path = folder / "config.json"
    before = path.stat()
    path.write_text(path.read_text().replace('"gelu"', '"relu"'))
    os.utime(path, ns=(1, before.st_mtime_ns))
    refused(folder, "made from other weights")


def test_what_is_compared_when(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of files that nobody touched; a sample of a copy with its time; everything else whole."""
    compared = []

    def watched(name: str) -> Callable[[Checkpoint], str]:
        honest = getattr(Checkpoint, name)
        return lambda self: compared.append(name) or honest(self)

    for name in ("sample", "digest"):
        monkeypatch.setattr(Checkpoint, name, watched(name))

    def opening(folder: Path) -> list[str]:
        compared.clear()
        open_packed(open_checkpoint(folder))
        return compared

    assert opening(folder) == []
    copy = Path(shutil.copytree(folder, folder.with_name("copy")))
    assert opening(copy) == ["sample"]
    os.utime(copy / "model.safetensors", ns=(1, 1))
    assert opening(copy) == ["digest"]
    (folder / "model.safetensors").chmod(0o600)  # the time of change of the file's status tells of more than this
    assert opening(folder) == ["digest"]


def test_a_file_exchanged_while_it_is_opened_is_compared_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its state would be noted, or believed, of another content than what was mapped."""
    path, map_file = folder / "model.safetensors", checkpoint.map_file

    def exchange(name: Path) -> Any:
        mapped = map_file(name)
        if name == path:
            shutil.copy2(path, folder / "copy")
            (folder / "copy").replace(path)
        return mapped

    monkeypatch.setattr(checkpoint, "map_file", exchange)
    opened = open_checkpoint(folder)
    assert opened.states() == [{}]
    save_packed(pack_model(read_model(opened)), opened)
    open_packed(open_checkpoint(folder))
    whole = []
    monkeypatch.setattr(Checkpoint, "digest", lambda self: whole.append(self) or "0" * 64)
    refused(folder, "made from other weights")
    assert len(whole) == 1
