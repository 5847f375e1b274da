"""The model that the package carries: asked for where nobody names one, and what it must be where it is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import minidistil
from minidistil.records.lines import examples
from minidistil.weights import CheckpointError, locate, open_checkpoint
from minidistil.weights.config import Config
from minidistil.weights.locate import OWN_MODEL
from minidistil.weights.precision import stored_precision
from tests.cli.support import run
from tests.own_model import LABELS, put_in_place, take_away

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "minidistil" / "sentiment"
LARGEST = 12_000_000  # bytes, with all its files: it is in every wheel
TEXTS = ["A good film.", "It was bad, and long."]

# Written for this test: nothing of any data set, and nothing that is hard.
GOOD = (
    "A wonderful film, funny and moving from beginning to end.",
    "The best performance of her career; I loved every minute.",
    "One of those rare sequels that is even better than the first.",
    "Beautifully shot, brilliantly acted, and the ending is perfect.",
    "I laughed, I cried, and I would see it again tomorrow.",
    "a charming , intelligent comedy",
)
BAD = (
    "A complete waste of time and money.",
    "Terrible acting, an awful script, and I fell asleep halfway through.",
    "The worst film that I have seen in years.",
    "Boring, predictable and far too long; avoid it.",
    "I wanted to like it, but the plot is a mess and the jokes are not funny.",
    "a dull , lifeless thriller",
)

carried = pytest.mark.skipif(not FOLDER.is_dir(), reason="the package's own model is not in this checkout")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return put_in_place(tmp_path / "package", monkeypatch)


@pytest.mark.parametrize("task", ["sentiment-analysis", "text-classification"])
def test_a_pipeline_without_a_model(small: Path, task: str) -> None:
    """It is the package's own, and says what the same folder says by its path."""
    answers = minidistil.pipeline(task, backend="exact")(TEXTS)
    assert answers == minidistil.pipeline(task, small, backend="exact")(TEXTS)
    assert {answer["label"] for answer in answers} <= set(LABELS)


def test_float16_is_computed_in_float32(small: Path) -> None:
    stored = open_checkpoint(OWN_MODEL)
    assert {stored.stored(name)[0] for name in stored.names} == {"F16"}
    ids = np.arange(4, 20)[None]
    own, exact = (
        minidistil.AutoModelForSequenceClassification.from_pretrained(OWN_MODEL, backend=b)(ids).logits
        for b in ("engine", "exact")
    )
    np.testing.assert_array_equal(own.view(np.uint32), exact.view(np.uint32))


def test_found_without_a_network(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert locate(OWN_MODEL) == small
    assert locate("package:minidistil") == small


def test_the_command_without_a_model(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("classify", "-t", TEXTS[0], "-t", TEXTS[1], "--json", "--threads", "1", "--backend", "exact")
    monkeypatch.delenv("MINIDISTIL_MODEL", raising=False)
    assert run(capsys, *asked) == run(capsys, *asked, "-m", small)
    monkeypatch.setenv("MINIDISTIL_MODEL", "nowhere/at/all")  # what the environment names goes before it
    assert "nowhere/at/all" in run(capsys, *asked).err


def test_without_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the package that has none says so, and what to do."""
    take_away(tmp_path, monkeypatch)
    monkeypatch.delenv("MINIDISTIL_MODEL", raising=False)
    said = "this copy of minidistil came without its own model; name one: a folder, package:NAME or a hub id"
    with pytest.raises(CheckpointError, match=said):
        minidistil.pipeline("sentiment-analysis")
    result = run(capsys, "classify", "-t", "a")
    assert (result.status, result.out) == (2, "")
    assert said in result.err


def test_other_tasks_need_a_model() -> None:
    for task in ("fill-mask", "ner", "feature-extraction", None):
        with pytest.raises(ValueError, match="needs model="):
            minidistil.pipeline(task)


@carried
def test_its_size() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= LARGEST


@carried
def test_its_files() -> None:
    """A DistilBERT in int8 with two labels, its tokenizer, and a card that says what it is."""
    stored = open_checkpoint(OWN_MODEL)
    config = Config.from_dict(stored.config)
    assert stored.folder == FOLDER
    assert config.architectures == ("DistilBertForSequenceClassification",)
    assert tuple(config.id2label.values()) == LABELS
    weights = {name: stored.stored(name)[0] for name in stored.names if name.endswith(".weight") and "orm." not in name}
    assert {name for name, kind in weights.items() if kind != "I8"} == {"classifier.weight", "pre_classifier.weight"}
    assert stored_precision(stored.config) == "int8"
    names = {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert names <= {file.name for file in FOLDER.iterdir()}
    card = (FOLDER / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert "IMDb" in card
    assert "SST-2" in card


@carried
def test_it_knows_good_from_bad() -> None:
    pipe = minidistil.pipeline("sentiment-analysis")
    assert [answer["label"] for answer in pipe([*GOOD, *BAD])] == ["positive"] * len(GOOD) + ["negative"] * len(BAD)


@carried
@pytest.mark.parametrize("name", [name for name in examples() if "reviews" in name])
def test_the_command_as_in_the_readme(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, "classify", name)
    assert (result.status, result.err) == (0, "")
    assert len(result.out.splitlines()) >= 2


def test_the_notice_says_what_it_was_made_of() -> None:
    """It goes into every wheel and archive: licences of what the weights are derived from, and the data."""
    notice = (ROOT / "NOTICE").read_text()
    for said in (
        "all-MiniLM-L6-v2",
        "Apache License, Version 2.0",
        "MIT License",
        "Maas",
        "Socher",
        "No text of these",
    ):
        assert said in notice
