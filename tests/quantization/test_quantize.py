"""`quantize`: what is written, what it says that it costs, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import minidistil
from minidistil.quantization.quantize import quantize
from minidistil.quantization.texts import read_texts, tokens_of
from minidistil.quantization.watching import operations, ranges
from minidistil.tokenization import Tokenizer
from minidistil.weights import open_checkpoint, read_model
from minidistil.weights.config import Config
from minidistil.weights.quantizing import VERSION, farthest, products, quantized

TEXTS = [
    "the old man and the sea",
    "rain and snow in paris",
    "a joy from start to end",
    "no",
    *"rain sea paris man old end joy start".split(),
]


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_an_encoder_of_sentences(sentence_small: Path, tmp_path: Path) -> None:
    """It is loaded with its modules, in int8, and says nearly the same; the report says how nearly."""
    report = quantize(sentence_small, tmp_path / "made", texts=TEXTS)
    before, after = minidistil.load(sentence_small), minidistil.load(tmp_path / "made")
    assert repr(after) == repr(before).replace("float32", "int8")
    assert after.max_seq_length == 64
    assert (before.precision, after.precision) == ("float32", "int8")
    assert cosines(before.encode(TEXTS), after.encode(TEXTS)).min() > 0.995
    assert report.bytes_after < report.bytes_before / 3.5
    made = json.loads((tmp_path / "made" / "config.json").read_text())["quantization_config"]["minidistil"]
    assert made["quantizing"] == VERSION
    assert made["made_of"] == open_checkpoint(sentence_small).digest()
    assert made["calibration"] == report.calibration == "with 12 of 12 texts of texts"
    card = (tmp_path / "made" / "README.md").read_text()
    assert card.startswith("# made\n")
    assert "| pairs of weights | limited, so that every CPU's fastest products are exact |" in card


def test_the_report(distilbert_small: Path, tmp_path: Path) -> None:
    report = quantize(distilbert_small, tmp_path / "made", texts=TEXTS, keep=["lin2"])
    measured = [part for part in report.parts if part.precision == "int8"]
    weights = read_model(open_checkpoint(distilbert_small))
    names = {p.name for p in products(weights)} | {"embeddings.word_embeddings", "embeddings.position_embeddings"}
    assert {part.name for part in report.parts} == names
    assert [part.name for part in report.parts[len(measured) :]] == ["layer.0.lin2", "layer.1.lin2"]
    found = [part.cosine for part in measured if part.cosine is not None]
    assert found == sorted(found)  # worst first
    assert [part.name for part in measured if part.cosine is None] == ["vocab_transform"]  # behind the hidden states
    for part in measured:
        assert part.error is not None
        assert 0.001 < part.error < 0.05, part.name
        if part.cosine is not None and part.least_cosine is not None:
            assert 0.99 < part.least_cosine <= part.cosine < 1, part.name
    assert report.cosine is not None
    assert min(found) > report.cosine > 0.99  # everything together costs more than any one of it
    file = report.save(tmp_path / "report.json")
    assert json.loads(file.read_text()) == report.to_dict()
    table = str(report).splitlines()
    assert table[1].split()[0] == report.parts[0].name
    assert f"whole model   cosine to float32 {report.cosine:.6f}, least of a token {report.least_cosine:.5f}" in table


@pytest.fixture(scope="module")
def outlying(sentence_small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of whose hidden states, but the last, one column is far larger than all others; of activations one."""
    folder = tmp_path_factory.mktemp("outlying") / "model"
    shutil.copytree(sentence_small, folder)
    tensors = load_file(folder / "model.safetensors")
    for name in tensors:
        if name.endswith("LayerNorm.weight"):
            tensors[name][7] *= 0 if name.endswith("layer.1.output.LayerNorm.weight") else 60
        elif name.endswith("intermediate.dense.bias"):
            tensors[name][9] += 100
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("texts", [None, TEXTS], ids=["by the weights", "by texts"])
def test_columns_in_float32(outlying: Path, tmp_path: Path, texts: list[str] | None) -> None:
    """There is far less of an error; the report, the file and the card say so; the file's bits are the reference's."""
    plain = quantize(outlying, tmp_path / "plain", texts=texts)
    report = quantize(outlying, tmp_path / "made", texts=texts, keep_columns=0.01)
    assert report.cosine is not None
    assert plain.cosine is not None
    assert report.cosine > plain.cosine
    errors, before = ({part.name: part.error or 0.0 for part in one.parts} for one in (report, plain))
    for layer in (0, 1):
        assert errors[f"layer.{layer}.qkv"] < before[f"layer.{layer}.qkv"] / 2
        assert errors[f"layer.{layer}.lin1"] < before[f"layer.{layer}.lin1"] / 2
        assert errors[f"layer.{layer}.lin2"] < before[f"layer.{layer}.lin2"]  # of which a row's own steps are the most
    kept = {part.name: part.kept_columns for part in report.parts}
    assert kept["layer.0.lin2"] == 4  # of 400
    assert {name for name, count in kept.items() if count == 0} == {
        "embeddings.word_embeddings",
        "embeddings.position_embeddings",
    }
    assert not any(part.kept_columns for part in plain.parts)
    for part, before in zip(
        sorted(report.parts, key=lambda p: p.name), sorted(plain.parts, key=lambda p: p.name), strict=True
    ):
        assert part.smoothed == before.smoothed  # ones and zeros smooth nothing
        zeros = 4 * part.shape[1] if part.kept_columns and not part.smoothed else 0
        assert part.bytes == before.bytes + 4 * part.kept_columns * part.shape[0] + zeros
    extra = sum(part.bytes for part in report.parts) - sum(part.bytes for part in plain.parts)
    # Of queries, keys and values each has a smooth of its own in memory, and in the file.
    assert report.bytes_after - plain.bytes_after == extra
    made, without = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("made", "plain"))
    assert made["quantization_config"]["minidistil"]["keep_columns"] == 0.01
    assert "keep_columns" not in without["quantization_config"]["minidistil"]
    row = "| columns kept | 1 % of each product's in int8, in float32 |"
    assert row in (tmp_path / "made" / "README.md").read_text()
    assert "columns kept" not in (tmp_path / "plain" / "README.md").read_text()
    assert "columns kept" not in str(plain)
    lines = str(report).splitlines()
    assert "columns kept" in lines[0]
    assert next(line for line in lines if line.startswith("layer.0.lin2")).split()[5] == "4"
    read = read_model(open_checkpoint(tmp_path / "made"))
    columns = {p.name: len(p.linears[0].columns) for p in products(read)}  # type: ignore[union-attr]
    assert columns == {name: count for name, count in kept.items() if count}
    assert {7} <= set(products(read)[0].linears[0].columns.tolist())  # type: ignore[union-attr]
    engine, exact = (minidistil.load(tmp_path / "made", backend=name) for name in ("engine", "exact"))
    assert engine.encode(TEXTS).tobytes() == exact.encode(TEXTS).tobytes()


def test_columns_without_smoothing_are_told_by_texts_too(outlying: Path, tmp_path: Path) -> None:
    report = quantize(outlying, tmp_path / "made", texts=TEXTS, keep_columns=0.01, smooth=False, measure=False)
    assert report.calibration == "with 12 of 12 texts of texts"
    opened = open_checkpoint(outlying)
    config, weights = Config.from_dict(opened.config), read_model(opened)
    batches = tokens_of(TEXTS, Tokenizer.from_pretrained(outlying), config, 64)
    found = ranges(config, weights, operations(), batches)
    for product in products(read_model(open_checkpoint(tmp_path / "made"))):
        (one, *_) = product.linears
        assert np.array_equal(one.columns, farthest(found[product.name], 0.01))  # type: ignore[union-attr]
        assert set(one.smooth.tolist()) == {0, 1}  # type: ignore[union-attr]


def test_the_same_bytes_by_either_backend(sentence_small: Path, tmp_path: Path) -> None:
    """Ranges are those of the pass: what enters each layer by the hidden states; and so is the file."""
    for name, backend in (("one", None), ("two", "exact")):
        quantize(sentence_small, tmp_path / name, texts=TEXTS, measure=False, backend=backend)
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two
    opened = open_checkpoint(sentence_small)
    config, weights = Config.from_dict(opened.config), read_model(opened)
    batches = tokens_of(TEXTS, Tokenizer.from_pretrained(sentence_small), config, 64)
    found = ranges(config, weights, operations(), batches)
    assert found.keys() == {product.name for product in products(weights)}
    model = minidistil.AutoModel.from_pretrained(sentence_small)
    states = [model(**model.tokenizer([text]), output_hidden_states=True).hidden_states for text in TEXTS]
    for layer in (0, 1):
        expected = np.max([np.abs(state[layer][0]).max(axis=0) for state in states], axis=0)
        assert np.array_equal(found[f"layer.{layer}.qkv"], expected)
    read = read_model(open_checkpoint(tmp_path / "one"))
    for before, after in zip(products(quantized(weights, found)), products(read), strict=True):
        for w, v in zip(before.linears, after.linears, strict=True):
            assert np.array_equal(w.codes, v.codes)  # type: ignore[attr-defined]
            assert np.array_equal(w.scale, v.scale)  # type: ignore[attr-defined]


def test_from_the_weights_alone_is_what_loading_makes(distilbert_small: Path, tmp_path: Path) -> None:
    report = quantize(distilbert_small, tmp_path / "made", measure=False)
    assert (report.calibration, report.cosine, report.judged_by) == ("by the weights alone", None, None)
    assert "cosine" not in str(report)
    ids = [[5, 6, 7, 8, 9]]
    kind = minidistil.DistilBertForMaskedLM
    made = kind.from_pretrained(tmp_path / "made")(ids).logits
    assert np.array_equal(made, kind.from_pretrained(distilbert_small, precision="int8")(ids).logits)
    assert not np.array_equal(made, kind.from_pretrained(distilbert_small)(ids).logits)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"texts": []}, ValueError, "texts: there are no texts in it"),
        (
            {"texts": ["a", 5, None]},
            ValueError,
            r"texts\[1\] must be text, got int\ntexts\[2\] must be text, got NoneType",
        ),
        ({"texts": 5}, TypeError, "texts must be a path or an iterable of str, got int"),
        ({"texts": "-"}, TypeError, "give a file, not standard input"),
        ({"texts": "example:none"}, ValueError, "there is no example:none; there are example:amendments"),
        ({"texts": "example:opinions", "text": "body"}, ValueError, "no body among the columns text, label"),
        ({"keep_columns": 1.0}, ValueError, "keep_columns must be a fraction, from 0 to below 1, such as 0.01; got 1"),
        ({"keep_columns": "1 %"}, TypeError, "keep_columns must be a number, got str"),
        ({"keep": ["lin9"]}, ValueError, "keep has 'lin9', which nothing is called"),
    ],
)
def test_what_is_refused(
    options: dict[str, Any], error: type[Exception], message: str, sentence_small: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        quantize(sentence_small, tmp_path / "made", measure=False, **options)
    assert not (tmp_path / "made").exists()


def test_int8_is_not_made_again_and_nothing_of_itself(sentence_small: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name another folder for the result"):
        quantize(sentence_small, sentence_small)
    quantize(sentence_small, tmp_path / "made", measure=False)
    with pytest.raises(ValueError, match="has int8 weights, and quantizing needs float32"):
        quantize(tmp_path / "made", tmp_path / "again")


def test_texts_are_taken_evenly(tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("".join(f"line {i}\n\n" for i in range(100)))
    taken = read_texts(file, "text", 4)
    assert taken.texts == ["line 0", "line 25", "line 50", "line 75"]
    assert taken.of == 100
