"""The measures of quality: each where its value is known, and texts that are the same in every run."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import quality
from benchmarks.own_model.data import Data


def unit(seed: int, count: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((count, 24))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_a_search_that_finds_the_same_has_ones() -> None:
    both = unit(0, 40), unit(1, 6)
    assert quality.search(both, both) == quality.Search(1.0, 1.0, pytest.approx(1.0))
    scaled = both[0] * 0.5, both[1] * 3
    assert quality.search(both, scaled) == quality.Search(1.0, 1.0, pytest.approx(1.0))


def test_a_search_that_finds_the_opposite_has_none() -> None:
    corpus, queries = unit(0, 40), unit(1, 6)
    found = quality.search((corpus, queries), (-corpus, queries))
    assert found == quality.Search(0.0, 0.0, pytest.approx(-1.0))


def test_one_exchange_of_ranks_is_counted() -> None:
    """Of similarities 1.0, 0.9 .. 0.0 to one query the first two change places, and the tenth and the eleventh."""
    corpus = np.zeros((11, 2))
    corpus[:, 0] = np.arange(11)[::-1] / 10
    other = corpus[[1, 0, 2, 3, 4, 5, 6, 7, 8, 10, 9]]
    query = np.array([[1.0, 0.0]])
    found = quality.search((corpus, query), (other, query))
    assert found.first == 0
    assert found.ten == pytest.approx(0.9)
    squares = 4  # of differences in rank, for n = 11
    assert found.spearman == pytest.approx(1 - 6 * squares / (11 * (11**2 - 1)))


def test_pooling_is_the_mean_of_a_sentence_at_unit_length() -> None:
    states = [np.float32([[1, 0], [3, 0]]), np.float32([[0, 2]])]
    assert quality.pooled(states).tolist() == [[1, 0], [0, 1]]


@pytest.fixture
def data(tmp_path: Path) -> Data:
    for folder in ("imdb", "sst2"):
        (tmp_path / folder).mkdir()
    lines = [json.dumps({"label": i % 2, "text": f"Review {i} begins. It goes on."}) for i in range(700)]
    with lzma.open(tmp_path / "imdb" / "train.jsonl.xz", "wt") as file:
        file.write("\n".join(lines))
    (tmp_path / "sst2" / "train.tsv").write_text("\n".join(f"sentence {i}\t{i % 2}" for i in range(700)))
    return Data(tmp_path)


def test_texts_are_cut_the_same_way_and_nothing_is_in_two_parts(data: Data) -> None:
    texts = quality.cut(data)
    assert texts == quality.cut(data)
    assert {name: len(part) for name, part in texts.items()} == {"corpus": 1000, "queries": 200, "calibration": 100}
    every = [text for part in texts.values() for text in part]
    assert len(set(every)) == 1300
    for part in texts.values():
        assert sum(text.startswith("Review") for text in part) == len(part) // 2
        assert all("goes on" not in text for text in part)


def test_a_head_says_what_the_model_says(tmp_path: Path) -> None:
    """The package's own model, whole, against its encoder and the head of this module."""
    import minidistil

    folder = Path(minidistil.__file__).parent / "sentiment"
    head = quality.Head(folder)
    assert head.labels == ["negative", "positive"]
    ids = np.random.default_rng(0).integers(1000, 9000, (16, 12))
    whole: Any = minidistil.AutoModelForSequenceClassification.from_pretrained(folder, threads=1)
    encoder: Any = minidistil.AutoModel.from_pretrained(folder, threads=1)
    logits = np.asarray(whole(input_ids=ids).logits)
    said = head(np.asarray(encoder(input_ids=ids).last_hidden_state)[:, 0])
    assert said.tolist() == np.argmax(logits, axis=1).tolist()
    assert 0 < said.sum() < 16, "ids that the model takes for one and the other"


def test_both_tables_say_what_was_found_and_what_is_missing() -> None:
    sentences = {
        "mean": 0.9991, "least": 0.995, "first": 0.94, "ten": 0.95, "spearman": 0.999,
        "mean_alone": 0.9992, "equal": 0.5, "least_to_alone": 0.99,
    }  # fmt: skip
    text = quality.markdown(
        {
            "created": "2026-01-01",
            "machine": {"cpu": "A CPU", "family_model": "1 2", "llvm_name": "znver9"},
            "versions": {"numpy": "2.0"},
            "sentences": {"ours": sentences},
            "sentiment": {"ours": {"sst2": 0.87, "sst2_agrees": 0.99, "imdb": 0.91, "imdb_agrees": 0.995}},
            "missing": {"openvino-int8": "nncf not installed"},
        }
    )
    assert "A CPU (family, model 1 2; znver9 to LLVM). numpy 2.0." in text
    assert "| ours | 0.999100 | 0.99500 | 0.940 | 0.9500 | 0.99900 | 0.999200 | 50.0% | 0.99000 |" in text
    assert "| ours | 87.00% | 99.00% | 91.00% | 99.50% |" in text
    assert "- openvino-int8: nncf not installed" in text
