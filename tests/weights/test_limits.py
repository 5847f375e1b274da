"""Files that ask for too much, or are no files: refused by the limit that the error names, before they cost it."""

from __future__ import annotations

import io
import json
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidistil import load
from minidistil.weights import CheckpointError, _pickle_subset, limits, open_checkpoint, read_config, read_model
from minidistil.weights.config import Config
from minidistil.weights.small_files import is_inside, parse_json, read_bytes
from tests.synthetic import MOBILEBERT_SMALL, ROBERTA_SMALL, tensors
from tests.weights import files

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "limits.md"
LIMITS = {name: value for name, value in vars(limits).items() if name.isupper()}


def test_the_document_says_every_limit() -> None:
    said = {}
    for names, values in re.findall(
        r"^\|[^|]*\(([`A-Z_, ]+)\)[^|]*\| ([\d, ]+) \|", DOCUMENT.read_text(), re.MULTILINE
    ):
        said.update(zip(re.findall(r"`(\w+)`", names), map(int, values.split(", ")), strict=True))
    assert said == LIMITS


# --- which files are read at all


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [pipe, device, Path.mkdir])
@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "pytorch_model.bin", "model.safetensors.index.json"]
)
def test_only_regular_files_are_read(tmp_path: Path, awake: None, name: str, make: Callable[[Path], None]) -> None:
    files.write_model(tmp_path, files.DISTILBERT)
    for other in (name, "model.safetensors"):
        (tmp_path / other).unlink(missing_ok=True)
    if name == "config.json":
        (tmp_path / "model.safetensors").write_bytes(files.safetensors_bytes({}))
    make(tmp_path / name)
    with pytest.raises(CheckpointError, match=f"{re.escape(name)} is no regular file but a folder, a pipe or a device"):
        open_checkpoint(tmp_path)


def test_links_are_followed_wherever_they_lead(tmp_path: Path) -> None:
    blobs = files.write_model(tmp_path / "blobs", files.DISTILBERT)
    snapshot = tmp_path / "snapshots" / "1"
    snapshot.mkdir(parents=True)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)
    assert read_model(open_checkpoint(snapshot)).encoder.layers


def test_a_file_without_an_announced_size_is_read_to_the_limit_only() -> None:
    with pytest.raises(CheckpointError, match="has 11 bytes; 10 are the most accepted"):
        read_bytes(Path("/proc/self/status"), 10)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\x", "C:x", "a\0"])
def test_names_that_lead_outside(name: str) -> None:
    assert not is_inside(name)
    assert is_inside("")
    assert is_inside("1_Pooling")
    assert is_inside("a/b..c")


# --- JSON

JSON = {
    "deep": (b"[" * 65 + b"]" * 65, "nested too deeply; 64 levels"),
    "deeper than Python goes": (b"[" * 100_000, "nested too deeply; 64 levels"),
    "name twice": (b'{"a": {"b": 1, "b": 2}}', "b stands twice"),
    "NaN": (b"[NaN]", "NaN is not JSON"),
    "infinity": (b"[-Infinity]", "-Infinity is not JSON"),
    "infinity spelled out": (b"[1e999]", "the number 1e999 is beyond all floating point numbers"),
    "digits": (b"9" * 41, "a number of 41 digits; 40 are"),
    "half a character": (b'["\\ud83d"]', "half of a surrogate pair"),
    "latin-1": (b'"\xe9"', "not UTF-8 text"),
    "utf-16": ('"a"'.encode("utf-16"), "not UTF-8 text"),
}


@pytest.mark.parametrize("fault", JSON)
def test_json_that_is_refused(tmp_path: Path, fault: str) -> None:
    content, message = JSON[fault]
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(f"config.json: is not valid JSON: {message}")):
        read_config(tmp_path)


def test_json_that_is_read() -> None:
    assert parse_json(b"[" * 64 + b"]" * 64)
    assert parse_json(b'\xef\xbb\xbf{"a": "\\ud83d\\ude00", "b": 1e30}') == {"a": "\U0001f600", "b": 1e30}
    assert parse_json(b"1000000000000000019884624838656") == int(1e30)


def test_a_file_of_json_that_is_too_large(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(limits.JSON_BYTES + 1)
    with pytest.raises(CheckpointError, match=r"config\.json: has 8388609 bytes; 8388608 are the most accepted"):
        read_config(tmp_path)


# --- tables of tensors


def opened(folder: Path, name: str, content: bytes) -> None:
    (folder / "config.json").write_text("{}")
    (folder / name).write_bytes(content)
    open_checkpoint(folder)


def test_safetensors_headers(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has a header of 2097153 bytes; 2097152 are the most accepted"):
        opened(tmp_path, "model.safetensors", files.raw_safetensors(b" " * (limits.TABLE_BYTES + 1)))
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    many = json.dumps({f"{i:x}": entry for i in range(limits.TENSORS + 1)}).encode()
    with pytest.raises(CheckpointError, match="has 16385 tensors; 16384 are the most accepted"):
        opened(tmp_path, "model.safetensors", files.raw_safetensors(many))


def test_shards(tmp_path: Path) -> None:
    index = "model.safetensors.index.json"
    many = {"weight_map": {str(i): f"{i}.safetensors" for i in range(limits.SHARDS + 1)}}
    with pytest.raises(CheckpointError, match="names 1025 files; 1024 are the most accepted"):
        opened(tmp_path, index, json.dumps(many).encode())
    for name in ("../a.safetensors", "/a.safetensors", "b/a.safetensors", "..\\a.safetensors"):
        with pytest.raises(CheckpointError, match="which is no weight file of this folder"):
            opened(tmp_path, index, json.dumps({"weight_map": {"x": name}}).encode())


def hostile_pickles() -> dict[str, tuple[bytes, str]]:
    """What would take a time that grows with the square of the program: something large, used by many small steps."""
    shape = files.tuple_(*[b"K\x01"] * 1000)
    use = files.call(
        files.import_("torch._utils", "_rebuild_tensor_v2"), b"h\x00", b"K\x00", b"h\x01", b"h\x01", b"N", b"N"
    )
    tensors = files.dict_({str(i): use for i in range(1000)})
    names = b"".join(b"h\x00h\x00\x93" for _ in range(1000))
    imports = b"".join(files.import_("a", f"b{i}") for i in range(limits.REFUSED_IMPORTS * 3))
    return {
        "a shape used by many": (
            files.storage("F32", "0", 1) + b"q\x00" + b"(" + shape + b"q\x01" + tensors + b"t",
            "a tensor of 1000 dimensions; 32 are the most accepted",
        ),
        "steps": (b"(" + b"N" * limits.PICKLE_STEPS + b"t", "more than 524288 operations"),
        "text": (files.text("x" * 1025) + b"q\x00" + names, "a text of 1025 characters; 1024 are"),
        "name": (files.import_("a" * 600, "b" * 600), "a text of 1201 characters; 1024 are"),
        "number": (b"\x8b" + struct.pack("<I", 9) + b"\x7f" * 9, "a number of 71 bits; 64 are"),
        "number written out": (b"I" + b"1" * 100_000 + b"\n", "a number of more than 64 digits"),
        "imports": (imports, "imports are refused"),
    }


@pytest.mark.parametrize("kind", hostile_pickles())
def test_pickles_of_quadratic_cost(kind: str) -> None:
    program, message = hostile_pickles()[kind]
    with pytest.raises(_pickle_subset.PickleError, match=message) as error:
        _pickle_subset.load(files.program(program))
    assert len(error.value.refused) <= limits.REFUSED_IMPORTS


def test_the_steps_of_a_real_model_are_few() -> None:
    """A tensor takes 29 steps, so that the limit leaves room for all tensors that there may be."""
    program = files.program(files.dict_({"x": files.tensor(files.storage("F32", "0", 1), 0, (1, 1), (1, 1))}))
    steps = sum(1 for _ in _pickle_subset._operations(program, io.BytesIO(program)))
    assert steps * limits.TENSORS <= limits.PICKLE_STEPS * 1.1


def directory_only(entries: int, name: int) -> bytes:
    """A zip archive whose directory names that many records, all of them the first."""
    head = b"PK\x03\x04" + bytes(26)
    record = b"PK\x01\x02" + struct.pack("<4B4HL2L5H2L", 20, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, name, 0, 0, 0, 0, 0, 0)
    directory = (record + b"a" * name) * entries
    count = min(entries, 0xFFFF)
    return head + directory + b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, count, count, len(directory), len(head), 0)


def test_directories_of_archives(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="it takes more than 2097152 bytes, which are the most accepted"):
        opened(tmp_path, "pytorch_model.bin", directory_only(60_000, 0))
    with pytest.raises(CheckpointError, match="has 17000 records; 16384 are the most accepted"):
        opened(tmp_path, "pytorch_model.bin", directory_only(17_000, 1))
    with pytest.raises(CheckpointError, match="a name of 1000 characters; 255 are the most accepted"):
        opened(tmp_path, "pytorch_model.bin", directory_only(2, 1000))


def test_records_that_overlap(tmp_path: Path) -> None:
    name = b"archive/data/1"
    inner = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 8, 8, len(name), 0) + name + bytes(8)
    outer = bytearray(files.archive({"data.pkl": files.program(b"}"), "data/0": inner, "data/1": bytes(8)}))
    struct.pack_into("<L", outer, outer.rindex(name) - 4, outer.index(inner))  # in the directory: where it begins
    with pytest.raises(CheckpointError, match="record archive/data/1 overlaps archive/data/0"):
        opened(tmp_path, "pytorch_model.bin", bytes(outer))


def test_small_files_do_not_become_large_models(tmp_path: Path) -> None:
    one = files.tensor(files.storage("F32", "0", 10_000), 0, (100, 100), (100, 1))
    for names, fits in ((3, True), (100, False)):
        program = files.program(files.dict_({str(i): one for i in range(names)}))
        content = files.archive({"data.pkl": program, "data/0": bytes(40_000)})
        if fits:
            opened(tmp_path, "pytorch_model.bin", content)
        else:
            with pytest.raises(CheckpointError, match="they take 4000000 bytes, more than 4 times the file's"):
                opened(tmp_path, "pytorch_model.bin", content)


# --- numbers that no tensor confirms


def test_layers_of_empty_tensors(tmp_path: Path) -> None:
    """A thousand names, and a configuration by which each of a thousand layers has six thousand tensors."""
    config = {**MOBILEBERT_SMALL, "num_hidden_layers": 1000, "num_feedforward_networks": 1000}
    arrays = {f"mobilebert.encoder.layer.{i}.x": np.zeros(0, np.float32) for i in range(1000)}
    with pytest.raises(CheckpointError, match=r"1000 layers take \d+ tensors; 16384 are the most accepted"):
        read_model(open_checkpoint(files.write_model(tmp_path, config, arrays)))


def test_positions_behind_the_padding_that_are_not_there(tmp_path: Path) -> None:
    config = {**ROBERTA_SMALL, "pad_token_id": 2**31 - 1}
    folder = files.write_model(tmp_path, config, tensors(ROBERTA_SMALL))
    with pytest.raises(CheckpointError, match="positions begin after pad_token_id = 2147483647"):
        read_model(open_checkpoint(folder))


@pytest.mark.parametrize("labels", [{"0": ["a"]}, {"0": None}, {"-1": "a"}, ["a"], {"a": "b"}, {}])
def test_labels_of_any_kind(tmp_path: Path, labels: Any) -> None:
    if labels == {}:
        assert Config.from_dict({**files.BERT, "id2label": {}}).num_labels == 0
        return
    with pytest.raises(CheckpointError, match="id2label"):
        Config.from_dict({**files.BERT, "id2label": labels})


VALUES = [None, True, [], {}, "", "x", -1, 0, 10**30, 0.5, 1e300, [None], {"a": {}}, ["x"] * 50]


@pytest.mark.parametrize("key", [*ROBERTA_SMALL, "architectures", "problem_type", "num_labels", "id2label"])
def test_any_value_for_any_key_of_a_configuration(tmp_path: Path, key: str) -> None:
    folder = files.write_model(tmp_path, ROBERTA_SMALL)
    refused = []
    for value in VALUES:
        (folder / "config.json").write_text(json.dumps({**ROBERTA_SMALL, key: value}))
        try:
            load(folder, backend="blas")
        except CheckpointError as error:
            refused.append(str(error))
    assert refused
    assert all(str(folder) in error for error in refused)
