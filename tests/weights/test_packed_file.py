"""Packed weights: what is packed, written, and mapped again. What is refused: test_packed_faults.py."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import minidistil
from minidistil.weights import CheckpointError, open_checkpoint, read_model
from minidistil.weights.file_names import PACKED_FILE
from minidistil.weights.packed_file import open_packed, save_packed
from minidistil.weights.packing import is_packed_from, pack_model
from tests.bits import assert_same_bits
from tests.synthetic import DISTILBERT_SMALL, MOBILEBERT_SMALL, write_checkpoint

IDS = np.arange(20)[None]


@pytest.fixture
def folder(distilbert_small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(distilbert_small, tmp_path / "model"))


def pack(folder: Path) -> Path:
    checkpoint = open_checkpoint(folder)
    return save_packed(pack_model(read_model(checkpoint)), checkpoint)


def test_packed_arrays_hold_the_weights(folder: Path) -> None:
    weights = read_model(open_checkpoint(folder))
    packed = pack_model(weights)
    layer = weights.encoder.layers[1]
    panels = packed["layer.1.qkv.weight"]  # [panels, K, 48]
    rows = panels.transpose(0, 2, 1).reshape(-1, panels.shape[1])
    for i, linear in enumerate((layer.q_lin, layer.k_lin, layer.v_lin)):
        part = rows[i * 144 : (i + 1) * 144]  # 128 rows in three panels
        assert_same_bits(part[:128], linear.weight)
        assert not part[128:].any()
        assert_same_bits(packed["layer.1.qkv.bias"][i * 144 : i * 144 + 128], linear.bias)
    projector = packed["vocab_projector.weight"].transpose(0, 2, 1).reshape(-1, 128)
    assert_same_bits(projector[:1200], weights.masked_lm.vocab_projector.weight)
    assert packed.block.ctypes.data % 64 == 0
    assert all(start % 16 == 0 for start, _, _ in packed.places.values())


def test_a_mapped_file_is_what_was_packed(folder: Path) -> None:
    checkpoint = open_checkpoint(folder)
    packed = pack_model(read_model(checkpoint))
    assert save_packed(packed, checkpoint) == folder / PACKED_FILE
    mapped = open_packed(checkpoint)
    assert mapped.places == packed.places
    assert_same_bits(mapped.block, packed.block)
    assert not mapped.block.flags.writeable
    assert mapped.block.ctypes.data % 64 == 0
    assert not list(folder.glob(".*")), "a temporary file was left"


def test_models_load_what_is_packed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    want = minidistil.load(folder, threads=1)(IDS).logits
    pack(folder)
    monkeypatch.setattr("minidistil.backends.engine.engine.pack_model", lambda weights: pytest.fail("packed again"))
    assert_same_bits(minidistil.load(folder, threads=1)(IDS).logits, want)
    bare = minidistil.AutoModel.from_pretrained(folder, threads=1)(IDS)  # a part of what is packed serves it
    assert bare.last_hidden_state.shape == (1, 20, 128)


def test_mobilebert_loads_what_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_checkpoint(tmp_path, MOBILEBERT_SMALL)
    want = minidistil.load(folder, threads=1)(IDS).logits
    pack(folder)
    monkeypatch.setattr("minidistil.backends.engine.engine.pack_model", lambda weights: pytest.fail("packed again"))
    assert_same_bits(minidistil.load(folder, threads=1)(IDS).logits, want)


def test_a_head_that_is_not_packed_is_packed_in_memory(folder: Path) -> None:
    checkpoint = open_checkpoint(folder)
    encoder = read_model(checkpoint, heads=())
    save_packed(pack_model(encoder), checkpoint)
    assert is_packed_from(open_packed(checkpoint), encoder)
    assert not is_packed_from(open_packed(checkpoint), read_model(checkpoint))
    assert minidistil.load(folder, threads=1)(IDS).logits.shape == (1, 20, 1200)


def test_a_place_that_cannot_be_written(folder: Path) -> None:
    checkpoint = open_checkpoint(folder)
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_packed(pack_model(read_model(checkpoint)), checkpoint, folder / "config.json" / "below")


def test_it_is_on_the_disk_before_it_has_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stops leaves the file that was there, or the new one whole."""
    old = pack(folder).read_bytes()
    synced, fsync = [], os.fsync

    def watch(descriptor: int) -> None:
        synced.append(os.fstat(descriptor))
        assert (folder / PACKED_FILE).read_bytes() == old
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    write_checkpoint(folder, DISTILBERT_SMALL, seed=7)
    new = pack(folder).stat()
    assert [(facts.st_ino, facts.st_size) for facts in synced] == [(new.st_ino, new.st_size)]


def test_a_full_disk_leaves_what_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = pack(folder).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="cannot be written: No space left on device"):
        pack(folder)
    assert (folder / PACKED_FILE).read_bytes() == old
    assert not list(folder.glob(".*")), "a temporary file was left"
