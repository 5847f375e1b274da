"""Weights that lie beside others, or alone, under names with a word in them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import minidistil
from minidistil.weights import Checkpoint, CheckpointError, open_checkpoint
from tests.synthetic import tensors
from tests.weights import files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model, and beside it the variant "half", whose every number is half as large."""
    path = files.write_model(tmp_path / "model", files.BERT_MLM)
    half = {name: x / np.float32(2) for name, x in tensors(files.BERT_MLM).items()}
    (path / "model.half.safetensors").write_bytes(files.safetensors_bytes(half))
    return path


def first(checkpoint: Checkpoint) -> np.ndarray:
    return checkpoint.read("bert.embeddings.word_embeddings.weight")


def test_a_variant_beside_the_plain_files(folder: Path) -> None:
    np.testing.assert_array_equal(first(open_checkpoint(folder, variant="half")) * 2, first(open_checkpoint(folder)))
    plain = minidistil.AutoModel.from_pretrained(folder, backend="blas")
    half = minidistil.AutoModel.from_pretrained(folder, backend="blas", variant="half")
    assert np.abs(plain([[1, 2, 3]])[0] - half([[1, 2, 3]])[0]).max() > 0.01
    assert half.source.hub == {"variant": "half"}


def test_shards_of_a_variant(folder: Path) -> None:
    (folder / "model.half.safetensors").unlink()
    arrays = {name: x / np.float32(4) for name, x in tensors(files.BERT_MLM).items()}
    (folder / "pytorch_model.half-00001-of-00001.bin").write_bytes(files.torch_bytes(arrays))
    index = {"weight_map": dict.fromkeys(arrays, "pytorch_model.half-00001-of-00001.bin")}
    (folder / "pytorch_model.bin.index.half.json").write_text(json.dumps(index))
    np.testing.assert_array_equal(first(open_checkpoint(folder, variant="half")) * 4, first(open_checkpoint(folder)))


def test_a_variant_alone_is_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r'model\.half\.safetensors is there: variant="half" reads it'):
        open_checkpoint(folder)
    with pytest.raises(CheckpointError, match=r"none of model\.fp16\.safetensors, model\.safetensors\.index\.fp16"):
        open_checkpoint(folder, variant="fp16")


def test_a_saved_variant_has_the_plain_names(folder: Path, tmp_path: Path) -> None:
    half = minidistil.AutoModelForMaskedLM.from_pretrained(folder, backend="blas", variant="half")
    half.save_pretrained(tmp_path / "saved")
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {"config.json", "model.safetensors"}
    saved = open_checkpoint(tmp_path / "saved")
    np.testing.assert_array_equal(first(saved), first(open_checkpoint(folder, variant="half")))
    shutil.rmtree(tmp_path / "saved")
