"""Classifiers on frozen embeddings: fitted, written, and loaded by everything that takes a classifier."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil import CheckpointError, SentenceClassifier, SentenceEncoder, pipeline
from minidistil.models.probabilities import softmax
from minidistil.training import FrozenClassifier, fit_classifier
from minidistil.training.logistic import Features, fit
from tests.bits import assert_same_bits

TOWNS, BEASTS, WEATHER = "paris london berlin".split(), "cat dog bird".split(), "rain snow sun".split()
WORDS = "the old and new light of water in bread wine night book music".split()


def _texts(labels: int, n: int, seed: int) -> list[tuple[str, str]]:
    """Texts that the words of one kind tell apart, and how the kind is called."""
    rng = np.random.default_rng(seed)
    kinds = {"town": TOWNS, "beast": BEASTS, "weather": WEATHER}
    made = []
    for i in range(n):
        name = list(kinds)[i % labels]
        words = [*rng.choice(WORDS, rng.integers(2, 9)), *rng.choice(kinds[name], 2)]
        made.append((" ".join(words[j] for j in rng.permutation(len(words))), name))
    return made


DATA, OTHERS = _texts(3, 120, 0), _texts(3, 60, 1)


@pytest.fixture(scope="module")
def made(sentence_small: Path, tmp_path_factory: pytest.TempPathFactory) -> FrozenClassifier:
    out = tmp_path_factory.mktemp("frozen") / "out"
    return fit_classifier(DATA, start=sentence_small, out=out, held_out=OTHERS, threads=1)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_it_makes_is_the_logistic_regression_of_the_embeddings(
    made: FrozenClassifier, sentence_small: Path
) -> None:
    assert made.labels == ("beast", "town", "weather")
    assert made.held_out is not None
    assert made.held_out.accuracy > 0.9
    texts = [text for text, _ in DATA]
    x = minidistil.load(sentence_small, threads=1).encode(texts)
    y = np.array([made.labels.index(label) for _, label in DATA])
    features = Features(x)
    whole = np.ones((1, len(y)), bool)
    weights = fit(features, y, 3, made.decay, whole, tolerance=1e-10)[0]
    wanted = ((x - features.mean) / features.deviation) @ weights[:-1] + weights[-1]
    loaded = minidistil.load(made.folder)
    assert type(loaded) is SentenceClassifier
    np.testing.assert_allclose(loaded.encode(texts), wanted, atol=2e-4)
    assert np.abs(wanted).max() > 0.5


def test_the_bytes_depend_on_nothing_but_the_data(made: FrozenClassifier, sentence_small: Path, tmp_path: Path) -> None:
    again = fit_classifier(iter(DATA), start=SentenceEncoder.from_folder(sentence_small, threads=2), out=tmp_path / "a")
    assert _bytes(again.folder) == _bytes(made.folder)
    table = tmp_path / "data.jsonl"
    table.write_text("".join(json.dumps({"t": text, "l": label}) + "\n" for text, label in DATA))
    read = fit_classifier(table, start=sentence_small, out=tmp_path / "b", text="t", label="l", decay=made.decay)
    assert read.folds == {}
    assert _bytes(read.folder).keys() == _bytes(made.folder).keys()


def test_whatever_loads_it_says_the_same(made: FrozenClassifier) -> None:
    texts = [text for text, _ in OTHERS[:7]]
    loaded: Any = minidistil.load(made.folder)
    logits = loaded.encode(texts)
    scores = softmax(logits)
    assert_same_bits(loaded.predict_proba(texts), scores)
    labels = [made.labels[i] for i in logits.argmax(axis=1)]
    assert loaded.predict(texts) == labels
    for pipe in (
        pipeline("text-classification", model=made.folder),
        pipeline("sentiment-analysis", model=str(made.folder)),
        pipeline(model=made.folder),
        pipeline("text-classification", model=loaded),
        pipeline(model=loaded),
    ):
        found = pipe(texts)
        assert [one["label"] for one in found] == labels
        assert [one["score"] for one in found] == scores.max(axis=1).tolist()
    # sentence-transformers and whoever does not know classifiers: an encoder whose embeddings are the logits
    assert_same_bits(SentenceEncoder.from_folder(made.folder).encode(texts), logits)


def test_copies_pickles_and_saved_ones_are_the_same(made: FrozenClassifier, tmp_path: Path) -> None:
    loaded: Any = minidistil.load(made.folder)
    wanted = loaded.predict_proba(["the cat in paris"])
    for other in (copy.copy(loaded), copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))):
        assert type(other) is SentenceClassifier
        assert_same_bits(other.predict_proba(["the cat in paris"]), wanted)
    pipeline(model=loaded).save_pretrained(tmp_path / "saved")
    assert_same_bits(minidistil.load(tmp_path / "saved").predict_proba(["the cat in paris"]), wanted)


def test_texts_are_cut_where_the_encoder_cut_them(made: FrozenClassifier, sentence_small: Path) -> None:
    long = "the cat " * 60  # 64 tokens are read
    pipe = pipeline("text-classification", model=made.folder, truncation=True)
    cut = pipe(long)
    assert pipe.truncated == 1
    assert cut == pipe("the cat " * 31)
    whole = pipeline(model=made.folder, pool_windows="mean", function_to_apply="none")
    assert whole(long + " dog")[0]["score"] != whole("the cat " * 31)[0]["score"]


def test_prompts_and_shortened_embeddings_of_the_encoder_are_left_out(sentence_small: Path, tmp_path: Path) -> None:
    encoder = tmp_path / "encoder"
    shutil.copytree(sentence_small, encoder)
    general = {"prompts": {"query": "the king: "}, "default_prompt_name": "query", "truncate_dim": 16}
    (encoder / "config_sentence_transformers.json").write_text(json.dumps(general))
    plain = fit_classifier(DATA, start=sentence_small, out=tmp_path / "a", decay=0.1)
    prompted = fit_classifier(DATA, start=encoder, out=tmp_path / "b", decay=0.1)
    texts = [text for text, _ in OTHERS]
    assert_same_bits(minidistil.load(prompted.folder).encode(texts), minidistil.load(plain.folder).encode(texts))


def test_what_cannot_be_fitted_is_said(made: FrozenClassifier, sentence_small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="one label only"):
        fit_classifier([("a", "x"), ("b", "x")], start=sentence_small, out=out)
    with pytest.raises(ValueError, match=r"single text.*decay=0\.1"):
        fit_classifier([("a", "x"), ("b", "y"), ("c", "y")], start=sentence_small, out=out)
    with pytest.raises(ValueError, match="decay must be a positive number, got 0"):
        fit_classifier(DATA, start=sentence_small, out=out, decay=0)
    with pytest.raises(ValueError, match="folds must be 2 or more, got 1"):
        fit_classifier(DATA, start=sentence_small, out=out, folds=1)
    with pytest.raises(ValueError, match="is a classifier on embeddings itself"):
        fit_classifier(DATA, start=made.folder, out=out)
    with pytest.raises(ValueError, match=r"data\[1\]: label 'crow' is none of"):
        fit_classifier(DATA, start=sentence_small, out=out, held_out=[("a", "town"), ("b", "crow")])
    assert not out.exists()


def test_a_classifier_and_labels_that_do_not_fit_are_refused(made: FrozenClassifier, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(made.folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "one", "1": "two"}
    config["label2id"] = {"one": 0, "two": 1}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"makes 3 logits, and config\.json names 2 labels"):
        minidistil.load(folder)


def test_tensors_that_lie_otherwise_in_memory_are_written_as_they_are(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    from minidistil.weights.saving import save

    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    save(tmp_path, {"model.safetensors": {"whole": x, "turned": x.T, "every second": x[:, ::2]}})
    read = load_file(tmp_path / "model.safetensors")
    for name, wanted in {"whole": x, "turned": x.T, "every second": x[:, ::2]}.items():
        np.testing.assert_array_equal(read[name], wanted)
