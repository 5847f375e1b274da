"""Opening folders: which file is taken, shards, the digest, and faults of the folder as a whole."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidistil.weights import Checkpoint, CheckpointError, open_checkpoint
from tests.synthetic import tensors
from tests.weights import files


def write_sharded(folder: Path, *, torch: bool = False) -> Path:
    """The small DistilBERT in two shards."""
    arrays = tensors(files.DISTILBERT)
    names = sorted(arrays)
    halves = names[:20], names[20:]
    stem, ending = ("pytorch_model", "bin") if torch else ("model", "safetensors")
    write = files.torch_bytes if torch else files.safetensors_bytes
    weight_map = {}
    for i, half in enumerate(halves, start=1):
        shard = f"{stem}-0000{i}-of-00002.{ending}"
        weight_map.update(dict.fromkeys(half, shard))
        (folder / shard).write_bytes(write({name: arrays[name] for name in half}))
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / f"{stem}.{ending}.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(files.DISTILBERT))
    return folder


@pytest.mark.parametrize("torch", [False, True])
def test_shards(tmp_path: Path, torch: bool) -> None:
    checkpoint = open_checkpoint(write_sharded(tmp_path, torch=torch))
    arrays = tensors(files.DISTILBERT)
    assert checkpoint.names == tuple(sorted(arrays))
    assert len(checkpoint.files) == 2
    for name, x in arrays.items():
        np.testing.assert_array_equal(checkpoint.read(name).view(np.uint32), x.view(np.uint32))


def test_order_of_preference(tmp_path: Path) -> None:
    one = {"x": np.ones(1, np.float32)}
    (tmp_path / "config.json").write_text("{}")
    shard = "model-1-of-1.safetensors"
    contents = {
        "pytorch_model-1-of-1.bin": files.torch_bytes({"bin_shard": one["x"]}),
        "pytorch_model.bin.index.json": b'{"weight_map": {"bin_shard": "pytorch_model-1-of-1.bin"}}',
        "pytorch_model.bin": files.torch_bytes({"bin": one["x"]}),
        shard: files.safetensors_bytes({"shard": one["x"]}),
        "model.safetensors.index.json": json.dumps({"weight_map": {"shard": shard}}).encode(),
        "model.safetensors": files.safetensors_bytes({"single": one["x"]}),
    }
    read = []
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        if not name.startswith(("pytorch_model-", "model-")):
            read.append(Checkpoint(tmp_path).names)
    assert read == [("bin_shard",), ("bin",), ("shard",), ("single",)]


class TestFaults:
    def test_several_files_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{not json")
        (tmp_path / "model.safetensors").write_bytes(b"123")
        with pytest.raises(CheckpointError) as error:
            Checkpoint(tmp_path)
        assert len(error.value.faults) == 2
        assert "config.json is not valid JSON" in str(error.value)
        assert "model.safetensors is 3 bytes long" in str(error.value)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "config.json is missing"),
            (b"", "config.json is not valid JSON"),
            (b"\xff\xfe\x00", "config.json is not valid JSON"),
            (b"[" * 100_000, "config.json is not valid JSON"),
            (b"[]", "config.json is not a JSON object but list"),
        ],
    )
    def test_config(self, tmp_path: Path, content: bytes | None, message: str) -> None:
        files.write_model(tmp_path, files.DISTILBERT)
        (tmp_path / "config.json").unlink()
        if content is not None:
            (tmp_path / "config.json").write_bytes(content)
        with pytest.raises(CheckpointError) as error:
            Checkpoint(tmp_path)
        assert message in str(error.value)

    def test_no_weights(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(CheckpointError, match=r"no weights: none of model\.safetensors, .*pytorch_model\.bin"):
            Checkpoint(tmp_path)
        (tmp_path / "tf_model.h5").touch()
        with pytest.raises(CheckpointError, match=r"tf_model\.h5 is there, which is not read"):
            Checkpoint(tmp_path)

    def test_weights_are_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "model.safetensors").mkdir()
        with pytest.raises(CheckpointError, match=r"model\.safetensors is no regular file but a folder"):
            Checkpoint(tmp_path)

    def test_shards(self, tmp_path: Path) -> None:
        write_sharded(tmp_path)
        index = tmp_path / "model.safetensors.index.json"
        content = json.loads(index.read_text())
        first, second = sorted(set(content["weight_map"].values()))
        (tmp_path / second).unlink()
        content["weight_map"]["phantom"] = first
        content["weight_map"]["outside"] = "../model.safetensors"
        index.write_text(json.dumps(content))
        with pytest.raises(CheckpointError) as error:
            Checkpoint(tmp_path)
        assert len(error.value.faults) == 3
        assert f"shard {second} is absent (model.safetensors.index.json puts 21 tensors into it)" in str(error.value)
        assert f"{first} lacks tensors that model.safetensors.index.json puts into it: phantom" in str(error.value)
        assert "names ../model.safetensors, which is no weight file of this folder" in str(error.value)

    def test_a_corrupt_shard_is_one_fault(self, tmp_path: Path) -> None:
        write_sharded(tmp_path)
        shard = tmp_path / "model-00002-of-00002.safetensors"
        shard.write_bytes(shard.read_bytes()[:-1])
        with pytest.raises(CheckpointError) as error:
            Checkpoint(tmp_path)
        assert all(fault.startswith(shard.name) for fault in error.value.faults)

    def test_a_tensor_in_two_shards(self, tmp_path: Path) -> None:
        write_sharded(tmp_path)
        first = tmp_path / "model-00001-of-00002.safetensors"
        (tmp_path / "model-00002-of-00002.safetensors").write_bytes(first.read_bytes())
        with pytest.raises(CheckpointError, match=r"repeats tensors of another shard: distilbert\.embeddings"):
            Checkpoint(tmp_path)

    @pytest.mark.parametrize("content", [b"{}", b'{"weight_map": {}}', b'{"weight_map": {"a": 1}}', b"null"])
    def test_index(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "model.safetensors.index.json").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json (has no weight_map|is not a JSON)"):
            Checkpoint(tmp_path)

    def test_the_error_itself(self) -> None:
        one, two = CheckpointError("there", "is wrong"), CheckpointError(Path("here"), ["a is wrong", "b is wrong"])
        assert str(one) == "there: is wrong"
        assert str(two) == "here: 2 faults\n  - a is wrong\n  - b is wrong"
        many = CheckpointError("here", [f"{i} is wrong" for i in range(5000)])
        assert str(many).endswith("999 is wrong\n  - and 4000 more")
        assert len(many.faults) == 5000
        for error in (one, two, many):
            assert str(pickle.loads(pickle.dumps(error))) == str(copy.copy(error)) == str(error)
            assert isinstance(error, ValueError)


class TestDigest:
    def test_any_byte_changes_it(self, tmp_path: Path) -> None:
        folder = files.write_model(tmp_path / "model", files.DISTILBERT)
        content = (folder / "model.safetensors").read_bytes()
        first = Checkpoint(folder).digest()
        assert len(bytes.fromhex(first)) == 32
        assert Checkpoint(folder).digest() == first
        rng = np.random.default_rng(0)
        for position in rng.integers(len(content) - 4000, len(content), 20):
            changed = bytearray(content)
            changed[position] ^= 1 << int(rng.integers(8))
            (folder / "model.safetensors").write_bytes(changed)
            assert Checkpoint(folder).digest() != first
        (folder / "model.safetensors").write_bytes(content)
        assert Checkpoint(folder).digest() == first
        (folder / "config.json").write_text(json.dumps({**files.DISTILBERT, "n_heads": 4}))
        assert Checkpoint(folder).digest() != first

    def test_is_computed_once(self, tmp_path: Path) -> None:
        checkpoint = Checkpoint(files.write_model(tmp_path, files.DISTILBERT))
        first = checkpoint.digest()
        (tmp_path / "config.json").unlink()
        assert checkpoint.digest() == first

    def test_is_what_it_says(self, tmp_path: Path) -> None:
        """SHA-256 of config.json, then per file its name, size and the SHA-256 of each block."""
        folder = files.write_model(tmp_path, files.DISTILBERT, {"x": np.zeros(5 << 20, np.float32)})
        content = (folder / "model.safetensors").read_bytes()
        assert len(content) > 16 << 20
        whole = hashlib.sha256((folder / "config.json").read_bytes())
        whole.update(b"\0model.safetensors\0" + str(len(content)).encode() + b"\0")
        for start in range(0, len(content), 8 << 20):
            whole.update(hashlib.sha256(content[start : start + (8 << 20)]).digest())
        assert Checkpoint(folder).digest() == whole.hexdigest()

    def test_shards_count(self, tmp_path: Path) -> None:
        write_sharded(tmp_path)
        first = Checkpoint(tmp_path).digest()
        shard = tmp_path / "model-00002-of-00002.safetensors"
        content = bytearray(shard.read_bytes())
        content[-1] ^= 1
        shard.write_bytes(content)
        assert Checkpoint(tmp_path).digest() != first


@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255), torch=st.booleans(), table=st.booleans())
def test_a_changed_byte_loads_or_is_a_checkpoint_error(
    tmp_path_factory: pytest.TempPathFactory, position: float, flip: int, torch: bool, table: bool
) -> None:
    mutate_and_open(tmp_path_factory.mktemp("changed"), torch, table, [(position, flip)])


def mutate_and_open(folder: Path, torch: bool, table: bool, changes: list[tuple[float, int]]) -> bool:
    """Change bytes of a small checkpoint, anywhere or in its table of tensors only (header, pickle program).

    Opening and reading all of it gives arrays, or CheckpointError; soon, and of a size that the file bounds.
    """
    arrays = {"a": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.ones(5, np.float16), "ids": np.arange(3)}
    content = bytearray(files.torch_bytes(arrays) if torch else files.safetensors_bytes(arrays))
    start, end = 0, len(content)
    if table and torch:
        start = content.index(b"\x80\x02")
        end = content.index(b"PK\x03\x04", start)
    elif table:
        end = 8 + int.from_bytes(content[:8], "little")
    for position, flip in changes:
        content[start + int(position * (end - start))] ^= flip
    (folder / "config.json").write_text("{}")
    (folder / ("pytorch_model.bin" if torch else "model.safetensors")).write_bytes(content)
    try:
        checkpoint = Checkpoint(folder)
        read = []
        for name in checkpoint.names:
            dtype, shape = checkpoint.stored(name)
            if dtype in ("F32", "F16", "BF16", "F64"):
                read.append(checkpoint.read(name))
                assert read[-1].shape == shape
        assert sum(x.nbytes for x in read) <= 4 * len(content)
        return True
    except CheckpointError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("torch", [False, True])
@pytest.mark.parametrize("table", [False, True])
def test_thousands_of_changes(tmp_path: Path, torch: bool, table: bool) -> None:
    rng = np.random.default_rng(20260)
    outcomes = []
    for _ in range(2000):
        changes = [(rng.random(), int(rng.integers(1, 256))) for _ in range(rng.integers(1, 5))]
        outcomes.append(mutate_and_open(tmp_path, torch, table, changes))
    assert 0 < sum(outcomes) < len(outcomes), "both outcomes must occur, or the changes are of no interest"
