"""pytorch_model.bin as it was before PyTorch 1.6: the same checks, the same answers, nothing executed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minidistil.weights import Checkpoint, CheckpointError, limits, open_checkpoint, read_model
from tests.synthetic import tensors
from tests.weights import files
from tests.weights.files import OLD_MACHINE, OLD_MAGIC, OLD_VERSION, dict_, integer, program, storage, tensor, text


def opened(folder: Path, content: bytes) -> Checkpoint:
    files.write_model(folder, files.BERT_MLM, torch=True)
    (folder / "pytorch_model.bin").write_bytes(content)
    return open_checkpoint(folder)


def test_the_same_model(tmp_path: Path) -> None:
    arrays = tensors(files.BERT_MLM)
    old = opened(tmp_path / "old", files.old_torch_bytes(arrays))
    new = open_checkpoint(files.write_model(tmp_path / "new", files.BERT_MLM, torch=True))
    assert old.names == new.names
    for name in new.names:
        np.testing.assert_array_equal(old.read(name).view(np.uint32), new.read(name).view(np.uint32))
        assert old.stored(name) == new.stored(name)
    assert read_model(old).masked_lm is not None


def test_half_precision_and_shared_storages(tmp_path: Path) -> None:
    x = np.arange(6, dtype=np.float16)
    kept = storage("F16", "1", 6, None, b"N")
    state = program(dict_({"a": tensor(kept, 0, (6,), (1,)), "b": tensor(kept, 2, (2, 2), (1, 2))}))
    checkpoint = opened(tmp_path, before(state) + program(b"](" + text("1") + b"e") + b"\6" + bytes(7) + x.tobytes())
    np.testing.assert_array_equal(checkpoint.read("a"), x)
    np.testing.assert_array_equal(checkpoint.read("b"), x[2:].reshape(2, 2).T)


def before(*programs: bytes) -> bytes:
    return OLD_MAGIC + OLD_VERSION + OLD_MACHINE + b"".join(programs)


ONE = storage("F32", "1", 2, None, b"N")
STATE = program(dict_({"x": tensor(ONE, 0, (2,), (1,))}))
KEYS, DATA = program(b"](" + text("1") + b"e"), b"\2" + bytes(7 + 8)
FAULTS = {
    "nothing behind": (OLD_MAGIC, "its table of tensors cannot be read: corrupt pickle data"),
    "version": (OLD_MAGIC + program(integer(7)) + OLD_MACHINE, "is of the version 7 of its format; 1001 is read"),
    "big-endian": (
        OLD_MAGIC + OLD_VERSION + program(dict_({"little_endian": b"\x89"})), "a machine that is not little-endian"
    ),
    "no machine": (OLD_MAGIC + OLD_VERSION + program(b"]"), "a machine that is not little-endian"),
    "no list": (before(STATE, program(b"}")), "has no list of storages"),
    "twice": (before(STATE, program(b"](" + text("1") * 2 + b"e"), DATA), "has no list of storages, each named once"),
    "other numbers": (before(STATE, KEYS, b"\3" + DATA[1:]), "storage 1 has 3 elements, its table of tensors says 2"),
    "unknown": (before(program(b"}"), KEYS, DATA), "storage 1 has 2 elements, its table of tensors says nothing"),
    "truncated": (before(STATE, KEYS, DATA[:-1]), "is truncated: storage 1 takes 8 bytes, fewer follow"),
    "cut short": (before(STATE, KEYS), "storage 1 has 0 elements, its table of tensors says 2"),
    "absent": (before(STATE, program(b"]")), "its storage 1 is not in the file"),
    "beyond": (
        before(program(dict_({"x": tensor(ONE, 1, (2,), (1,))})), KEYS, DATA), "its last element would be number 2 of"
    ),
    "a view": (
        before(program(dict_({"x": tensor(storage("F32", "1", 2, None, text("v")), 0, (2,), (1,))}))),
        "a reference to something other than a storage",
    ),
    "two types": (
        before(program(dict_({"x": tensor(ONE, 0, (2,), (1,)), "y": tensor(storage("F16", "1", 2), 0, (2,), (1,))}))),
        "the storage '1' has two types or sizes",
    ),
    "code": (before(program(files.call(files.import_("os", "system"), text("true")))), "would import os.system"),
    "code before": (
        OLD_MAGIC + program(files.call(files.import_("os", "system"), text("true"))), "would import os.system"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_faults(name: str, tmp_path: Path) -> None:
    content, fault = FAULTS[name]
    with pytest.raises(CheckpointError) as error:
        opened(tmp_path, content)
    assert fault in str(error.value)
    assert "pytorch_model.bin" in str(error.value)


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TABLE_BYTES", 200)
    with pytest.raises(CheckpointError, match="; 200 bytes are the most accepted"):
        opened(tmp_path / "table", files.old_torch_bytes(tensors(files.BERT)))
    monkeypatch.undo()
    monkeypatch.setattr(limits, "TENSORS", 1)
    many = program(b"](" + text("1") + text("2") + b"e")
    with pytest.raises(CheckpointError, match="has 2 storages; 1 are the most accepted"):
        opened(tmp_path / "storages", before(STATE, many))
