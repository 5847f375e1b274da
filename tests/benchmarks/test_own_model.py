"""The recipe of the package's own model, on a few sentences of the test's own: every step, and what is done once."""

from __future__ import annotations

import json
import lzma
import math
from pathlib import Path

import click
import pytest

from benchmarks.own_model import plan, settings, steps, tables
from benchmarks.own_model.card import card
from benchmarks.own_model.data import Data
from benchmarks.own_model.settings import LABELS
from minidistil import pipeline
from minidistil.weights import open_checkpoint
from tests import synthetic
from tests.synthetic_tokenizer import write_tokenizer

GOOD, BAD = "a good film and a happy one", "a bad film, old and slow"
PIECES = 160


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """The data sets' files, of the same two texts."""
    rows = [{"label": label, "text": text} for label, text in ((1, GOOD), (0, BAD))]
    without = [{"label": None, "text": text} for text in (GOOD, BAD, "the music of london")]
    (tmp_path / "data" / "imdb").mkdir(parents=True)
    (tmp_path / "data" / "sst2").mkdir()
    for name, content in {"train": rows * 4, "test": rows, "unsup": without}.items():
        lines = "".join(json.dumps(row) + "\n" for row in content)
        (tmp_path / "data" / "imdb" / f"{name}.jsonl.xz").write_bytes(lzma.compress(lines.encode()))
    for name in ("train", "dev"):
        (tmp_path / "data" / "sst2" / f"{name}.tsv").write_text(f"{GOOD}\t1\n{BAD}\t0\n")
    return Data(tmp_path / "data")


@pytest.fixture
def teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A BERT of six tiny layers in the place of all-MiniLM-L6-v2."""
    config = {**synthetic.BERT_SMALL, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
    config |= {"num_hidden_layers": 6, "vocab_size": 400, "max_position_embeddings": 192}
    folder = synthetic.write_checkpoint(tmp_path / "minilm", config)
    write_tokenizer(folder, 400, token_types=True)
    monkeypatch.setattr(steps, "TEACHER", str(folder))
    return folder


@pytest.mark.slow
def test_every_step(
    tmp_path: Path, data: Data, teacher: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the teacher to a checkpoint in int8 with a card; a second call does nothing."""
    recipe = steps.Recipe(data, tmp_path / "out", 1, "exact", PIECES)
    for name in steps.STEPS:
        recipe.run(name)
    place = tmp_path / "out" / "package" / steps.PACKAGE
    stored = open_checkpoint(place)
    assert stored.config["architectures"] == ["DistilBertForSequenceClassification"]
    assert stored.config["n_layers"] == len(settings.LAYERS)
    assert stored.stored("distilbert.embeddings.word_embeddings.weight") == ("I8", (PIECES, 16))
    assert [row["label"] in LABELS for row in pipeline("sentiment-analysis", place, backend="exact")([GOOD, BAD])]
    assert recipe.figures("evaluate-package")["imdb_examples"] == 2
    assert f"{recipe.figures('evaluate-package')['sst2_accuracy']:.2%}" in (place / "README.md").read_text()

    capsys.readouterr()
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*") if file.is_file()}
    for name in steps.STEPS:
        recipe.run(name)
    assert capsys.readouterr().err.count("done before") == len(steps.STEPS)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*") if file.is_file()} == before

    monkeypatch.setattr(tables, "TEACHER", str(teacher))
    monkeypatch.setattr(tables, "SEEDS", (0,))
    monkeypatch.setattr(tables, "ABLATION", {"epochs": 1, "batch_sentences": 2})
    lines = tables.comparison(recipe).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:6]] == [
        "| teacher, 6 layers", "| student, 3 layers, float32", "| student in int8, as shipped",
        "| logistic regression on all-MiniLM-L6-v2",
    ]  # fmt: skip
    assert f"| {recipe.figures('evaluate-teacher')['imdb_accuracy']:.2%} |" in lines[2]
    assert "| 100.0% / 100.0% |" in lines[2]
    variants = tables.ablation(recipe).splitlines()[2:]
    assert len(variants) == 6
    assert len({line.split(" | ")[0] for line in variants}) == 6

    other = steps.Recipe(data, tmp_path / "out", 1, "exact", PIECES + 1)
    with pytest.raises(click.ClickException, match="was made with other settings: remove the folder"):
        other.run("vocabulary")


def test_nothing_of_the_tests_is_learned_from(data: Data) -> None:
    assert len(data.sentiment()) == 8 + 2 * settings.SENTENCES_REPEATED
    assert {label for _, label in data.sentiment()} == set(LABELS)
    read: list[str] = []
    watched = Data(data.folder)
    original = Data._imdb

    def imdb(self: Data, name: str):
        read.append(name)
        return original(self, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Data, "_imdb", imdb)
        watched.sentiment()
        watched.texts()
    assert set(read) == {"train", "unsup"}


def test_evenly_taken(data: Data) -> None:
    assert data.unlabelled(4) == [data.unlabelled()[i] for i in (0, 2, 5, 8)]
    assert len(Data(data.folder, 0.5).unlabelled()) == 5


def test_operations_by_hand() -> None:
    """Products of one layer of MiniLM: four of 384 x 384, two of 384 x 1536; attention grows with the sentence."""
    products = 2 * (4 * 384 * 384 + 2 * 384 * 1536)
    assert plan.forward(1, 0) == products == 3_538_944
    assert plan.forward(6, 100) == 6 * (products + 4 * 100 * 384)
    assert math.isclose(plan.words(10_000), 0.15 * 2 * 384 * 10_384)
    cost = plan.Cost("x", 1e6, 3e12)
    assert plan.markdown([cost], 100).splitlines()[-1] == "| in all | 1.00 M | 3 T | 0.5 |"


def test_the_size_by_hand() -> None:
    """What is shipped is below 12 MB: a byte for each weight of the encoder, four for all else, and 0.3 MB of files."""
    D, F, layers = 384, 1536, len(settings.LAYERS)
    rows, products = settings.VOCABULARY + 512, 4 * D * D + 2 * D * F
    whole = rows * D + layers * products
    # Scales of rows; biases, scales and smoothing of products, and norms; the head.
    rest = rows + layers * (2 * (5 * D + F) + (5 * D + F) + 4 * D) + 2 * D + (D * D + D) + (2 * D + 2)
    assert whole + 4 * rest + 300_000 < settings.LARGEST


def test_a_card_before_anything_is_measured() -> None:
    text = card(lambda step: {})
    assert "Not measured yet." in text
    assert text.startswith("---\nlicense: apache-2.0\n")
