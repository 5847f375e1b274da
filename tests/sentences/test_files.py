"""The files of sentence-transformers when they say what they should not: one CheckpointError, with the file's name."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import minidistil
from minidistil.sentences.files import read_reranker_files, read_sentence_files
from minidistil.weights import CheckpointError, limits
from tests.sentences.folders import NORMALIZE, dense, layer_norm, pooling, weighted_layers, write_encoder, write_model

KIND = "sentence_transformers.models."
TRANSFORMER = {"idx": 0, "path": "", "type": f"{KIND}Transformer"}
POOLING = {"idx": 1, "path": "1_Pooling", "type": f"{KIND}Pooling"}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("files") / "bert")


@pytest.fixture
def model(bare: Path, tmp_path: Path) -> Path:
    """Every kind of module, and every file."""
    modules = (weighted_layers(128, 2, 1), pooling("mean"), dense(128, 64), layer_norm(64), NORMALIZE)
    folder = write_model(tmp_path / "model", bare, *modules, all_layers=True)
    general = {"prompts": {"q": "x", "d": None}, "default_prompt_name": "q", "similarity_fn_name": "dot"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({**general, "truncate_dim": 32}))
    return folder


OUTSIDE = ["../outside", "..", "/tmp", "1_Pooling/../../outside", "a\\..\\b", "C:/x"]


@pytest.mark.parametrize("path", OUTSIDE)
def test_modules_lie_within_their_folder(sentence_small: Path, tmp_path: Path, path: str) -> None:
    """The folder outside is there, and whole: only its name is wrong."""
    folder = shutil.copytree(sentence_small, tmp_path / "model")
    shutil.copytree(folder / "1_Pooling", tmp_path / "outside")
    (folder / "modules.json").write_text(json.dumps([TRANSFORMER, {**POOLING, "path": path}]))
    message = f"modules.json: module 1: its path {path} is no folder in this one"
    with pytest.raises(CheckpointError, match=re.escape(message)):
        minidistil.load(folder, backend="blas")
    (folder / "modules.json").write_text(json.dumps([{**TRANSFORMER, "path": path}]))
    with pytest.raises(CheckpointError, match="is no folder in this one"):
        read_reranker_files(folder)


def test_links_of_a_cache_lead_outside(sentence_small: Path, tmp_path: Path) -> None:
    """As in a snapshot of the Hugging Face cache, where every file is a link to a blob."""
    snapshot = tmp_path / "snapshots" / "0"
    for path in sentence_small.rglob("*"):
        if path.is_file():
            blob = tmp_path / "blobs" / str(path.relative_to(sentence_small)).replace("/", "+")
            blob.parent.mkdir(exist_ok=True)
            shutil.copy(path, blob)
            link = snapshot / path.relative_to(sentence_small)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
    assert minidistil.load(snapshot, backend="blas").encode("wine").shape == (128,)


def test_modules_without_end_or_in_one_folder(sentence_small: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sentence_small, tmp_path / "model")
    path = folder / "modules.json"
    many = [TRANSFORMER, POOLING, *({"idx": i, "path": f"{i}_Dense", "type": f"{KIND}Dense"} for i in range(2, 40))]
    path.write_text(json.dumps(many))
    with pytest.raises(CheckpointError, match=r"modules\.json: has 40 modules; 32 are the most accepted"):
        read_sentence_files(folder)
    path.write_text(json.dumps([TRANSFORMER, POOLING, *({**many[2], "idx": i} for i in (2, 3))]))
    with pytest.raises(CheckpointError, match=r"modules\.json: has two modules in the same folder"):
        read_sentence_files(folder)


NAMES = [
    "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", "2_Pooling/config.json",
    "3_Dense/config.json",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_pipe_or_a_large_file_is_not_read(model: Path, awake: None, name: str) -> None:
    (model / name).unlink()
    os.mkfifo(model / name)
    with pytest.raises(CheckpointError, match="is no regular file but a folder, a pipe or a device") as error:
        minidistil.load(model, backend="blas")
    assert Path(name).name in str(error.value)
    (model / name).unlink()
    with (model / name).open("wb") as file:
        file.truncate(limits.JSON_BYTES + 1)
    with pytest.raises(CheckpointError, match="has 8388609 bytes; 8388608 are the most accepted"):
        minidistil.load(model, backend="blas")


VALUES: list[Any] = [True, [], {}, "x", "", -1, 0, 10**30, 0.5, [None], {"a": {}}, {"a": 1}, ["x"] * 50, "../x"]


def _keys(content: Any) -> list[tuple[Any, ...]]:
    """The way to every value of a file, itself among them."""
    below = enumerate(content) if isinstance(content, list) else content.items() if isinstance(content, dict) else ()
    return [(), *((key, *rest) for key, value in below for rest in _keys(value))]


def _with(content: Any, way: tuple[Any, ...], value: Any) -> Any:
    if not way:
        return value
    copy = list(content) if isinstance(content, list) else dict(content)
    copy[way[0]] = _with(content[way[0]], way[1:], value)
    return copy


@pytest.mark.parametrize("name", [*NAMES, "1_WeightedLayerPooling/config.json", "4_LayerNorm/config.json"])
def test_any_value_anywhere(model: Path, name: str) -> None:
    """Values of every kind in the place of each other: the model loads, or one error says where the fault is."""
    content = json.loads((model / name).read_text())
    tried, refused = 0, []
    for way in _keys(content):
        for value in VALUES:
            (model / name).write_text(json.dumps(_with(content, way, value)))
            tried += 1
            try:
                minidistil.load(model, backend="blas")
            except CheckpointError as error:
                refused.append(str(error))
    assert len(refused) > tried // 3
    where = str(model / name) if "/" not in name else Path(name).parent.name
    beside = f"{model}/x", f"{model}: "  # a folder that it names, or a number that the modules contradict together
    assert [error for error in refused if where not in error and not error.startswith(beside)] == []
