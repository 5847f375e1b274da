"""--gold: accuracy and F1 of labels that somebody gave, as worked by hand, and as sklearn has them where installed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidistil
from minidistil.cli.agreement import Agreement, scores
from tests.cli.support import run
from tests.pipelines.checkpoints import write_small

QUICK = ("--threads", "1")
TEXTS = ["the city of light", "wine and music", "paris is great", "unbelievable", "the dog"]


def test_scores_worked_by_hand() -> None:
    """Of 4 cats 3 are found, and one dog is taken for a cat; a bird that is no bird; a label that never occurs."""
    pairs = {("cat", "cat"): 3, ("cat", "bird"): 1, ("dog", "cat"): 1, ("dog", "dog"): 2}
    report = scores(pairs, ["dog", "cat", "bird", "fish"], 4)
    assert (report.texts, report.unlabelled, report.accuracy) == (7, 4, 5 / 7)
    assert [row.label for row in report.labels] == ["dog", "cat", "bird"]
    assert [row.texts for row in report.labels] == [3, 4, 0]
    assert [row.precision for row in report.labels] == [1, 3 / 4, 0]
    assert [row.recall for row in report.labels] == [2 / 3, 3 / 4, 0]
    assert [row.f1 for row in report.labels] == [4 / 5, 6 / 8, 0]
    assert report.macro_f1 == pytest.approx((4 / 5 + 3 / 4) / 3, abs=1e-15)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=40))
def test_scores_are_those_of_sklearn(pairs: list[tuple[str, str]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    gold, found = zip(*pairs, strict=True)
    report = scores(Counter(pairs), "abcd")
    assert report.accuracy == pytest.approx(metrics.accuracy_score(gold, found))
    assert report.macro_f1 == pytest.approx(metrics.f1_score(gold, found, average="macro", zero_division=0))
    names = [row.label for row in report.labels]
    wanted = metrics.precision_recall_fscore_support(gold, found, labels=names, zero_division=0)
    rows = [(row.precision, row.recall, row.f1, row.texts) for row in report.labels]
    np.testing.assert_allclose(np.array(rows).T, np.array(wanted, float))


LABELS = {0: "NEGATIVE", 1: "POSITIVE"}


@pytest.mark.parametrize(
    "values",
    [["NEGATIVE", "POSITIVE"], ["negative", "Positive"], [0, 1], ["0", "1"], [False, True], [0.0, 1.0], ["0.0", " 1"]],
)
def test_labels_by_name_or_number(values: list[Any]) -> None:
    agreement = Agreement("gold", LABELS)
    agreement.check(dict.fromkeys([*values, None, ""], "f:1"))
    for value, found in zip([*values, values[0], None, "", values[1]], [*LABELS.values()] * 3, strict=False):
        agreement.add(value, found)
    agreement.add(values[0], None)  # a text that is null
    report = agreement.report()
    assert (report.texts, report.unlabelled, report.accuracy) == (4, 3, 1)


def test_names_that_are_numbers_are_names() -> None:
    agreement = Agreement("gold", {0: "1", 1: "2", 2: "3"})
    for value in (1, "2", 3):
        agreement.add(value, str(value))
    assert agreement.report().accuracy == 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("models"), "sentiment")


@pytest.mark.parametrize("gold", [["POSITIVE", "NEGATIVE", "NEGATIVE", "POSITIVE", None], [1, 0, 0, 1, None]])
def test_the_report_of_the_command(capsys: Any, tmp_path: Path, model: Path, gold: list[Any]) -> None:
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, gold, strict=True)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = [row["label"] for row in minidistil.pipeline("text-classification", model=model, threads=1)(TEXTS)]
    names = [LABELS.get(value, value) for value in gold[:4]]
    right = sum(a == b for a, b in zip(names, found, strict=False))
    asked = ("classify", tmp_path / "in.jsonl", "--gold", "label", "-m", model, *QUICK)
    report = json.loads(run(capsys, *asked, "--json").out)
    assert report["texts"] == 4
    assert report["unlabelled"] == 1
    assert report["accuracy"] == right / 4
    assert report["labels"] == [
        vars(row) for row in scores(Counter(zip(names, found, strict=False)), LABELS.values()).labels
    ]
    shown = run(capsys, *asked, "-o", tmp_path / "out.jsonl", "-k", "2").out.splitlines()
    assert shown[:2] == ["texts     4 (1 more without a label)", f"accuracy  {right / 4:.4f}"]
    assert shown[2] == f"macro F1  {report['macro_f1']:.4f}"
    assert shown[4].split() == ["label", "precision", "recall", "F1", "texts"]
    assert len(shown) == 5 + len(report["labels"])
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["label"] for row in written] == gold
    assert [row["labels"][0]["label"] for row in written] == found


def test_a_model_without_one_label_a_text_is_refused(capsys: Any, tmp_path: Path, reranker_small: Path) -> None:
    (tmp_path / "in.csv").write_text("text,gold\na,1\n")
    result = run(capsys, "classify", tmp_path / "in.csv", "--gold", "gold", "-m", reranker_small, *QUICK)
    assert result.status == 2
    assert "--gold takes a model that gives each text one of several labels" in result.err
