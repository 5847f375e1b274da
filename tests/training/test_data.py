"""Data of every form; and all that is wrong with them, told at once, before anything is computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidistil.records.errors import RecordError
from minidistil.training.data import Data, read_labelled

PAIRS = [("a b", "x"), ("c", "y"), ("d e", "x")]
SENTENCES = "sequence_classification"
TOKENS = "token_classification"


def labelled(data: Any, labels: Any = None, **options: Any) -> tuple[list[str], list[int], tuple[str, ...]]:
    texts, numbers, names = read_labelled(data, labels=labels, **options)
    assert numbers.dtype == np.int32
    return texts, numbers.tolist(), names


def test_every_form_says_the_same(tmp_path: Path) -> None:
    rows = [{"text": text, "label": label, "id": i} for i, (text, label) in enumerate(PAIRS)]
    (tmp_path / "a.csv").write_text("".join(["text,label\n", *(f"{t},{n}\n" for t, n in PAIRS)]))
    (tmp_path / "a.tsv").write_text("".join(["label\ttext\n", *(f"{n}\t{t}\n" for t, n in PAIRS)]))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    forms: list[Any] = [
        PAIRS,
        rows,
        iter(PAIRS),
        [list(p) for p in PAIRS],
        *(tmp_path / f"a.{s}" for s in ("csv", "tsv", "jsonl")),
    ]
    for form in forms:
        assert labelled(form) == (["a b", "c", "d e"], [0, 1, 0], ("x", "y"))
    digests = {Data(form, SENTENCES).survey().digest for form in (PAIRS, rows, str(tmp_path / "a.csv"))}
    assert len(digests) == 1


def test_tables_and_other_columns(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs the extra `arrow`")
    import pyarrow.parquet

    table = pa.table({"review": [t for t, _ in PAIRS], "stars": [n for _, n in PAIRS]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert labelled(tmp_path / "a.parquet", text="review", label="stars")[1] == [0, 1, 0]


@pytest.mark.parametrize(
    ("found", "names", "numbers"),
    [
        ([1, 0, 1], ("LABEL_0", "LABEL_1"), [1, 0, 1]),
        (["1", "0", "1"], ("LABEL_0", "LABEL_1"), [1, 0, 1]),
        ([np.int64(1), 0, 1], ("LABEL_0", "LABEL_1"), [1, 0, 1]),
        ([5, 1, 10], ("1", "5", "10"), [1, 0, 2]),
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        ([True, False, True], ("False", "True"), [1, 0, 1]),
    ],
)
def test_names_of_labels(found: list[Any], names: tuple[str, ...], numbers: list[int]) -> None:
    data = [(f"text {i}", label) for i, label in enumerate(found)]
    assert labelled(data)[1:] == (numbers, names)


def test_given_labels_and_those_of_a_model() -> None:
    assert labelled([("a", "neg"), ("b", "pos")], labels=["pos", "neg"])[1:] == ([1, 0], ("pos", "neg"))
    assert labelled([("a", 0), ("b", "1")], labels=["pos", "neg"])[1:] == ([0, 1], ("pos", "neg"))
    usual = Data([("a", 1), ("b", 0)], SENTENCES).survey(usual=("pos", "neg"))
    assert usual.names == ("pos", "neg")
    assert Data([("a", 1), ("b", 0), ("c", 2)], SENTENCES).survey(usual=("pos", "neg")).names[0] == "LABEL_0"


WRONG: dict[str, tuple[Any, list[str]]] = {
    "no examples": ([], ["data: there are no examples in it"]),
    "one label only": ([("a", 1), ("b", 1)], ["there is one label only, 1; to learn to tell texts apart takes two"]),
    "no texts": (
        [("a", 1), (None, 0), (3, 0), ("d", 0)],
        ["data[1]: text must be text, got nothing", "data[2]: text must be text, got int"],
    ),
    "no labels": (["a", ("b", None), ("c", 0.5)], [
        "data[0]: there is no label", "data[1]: there is no label", "data[2]: float is no label",
    ]),
    "half characters": ([("a\ud800", 1), ("b", 0)], ["data[0]: has half of a surrogate pair, which is no character"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_all_that_is_wrong_is_told_at_once(case: str) -> None:
    data, messages = WRONG[case]
    with pytest.raises(ValueError) as caught:
        read_labelled(data)
    for message in messages:
        assert message in str(caught.value)


def test_labels_out_of_range_and_without_examples() -> None:
    with pytest.raises(RecordError) as caught:
        read_labelled([("a", 2), ("b", 0), ("c", "other"), ("d", -1)], labels=["x", "y"])
    message = str(caught.value)
    assert "data[0]: label 2 is none of x, y" in message
    assert "data[2]: label 'other' is none of x, y" in message
    assert "data[3]: label -1 is none of x, y" in message
    with pytest.raises(ValueError, match="no example has the label y, z; the labels are x, y, z"):
        read_labelled([("a", "x")], labels=["x", "y", "z"])
    with pytest.raises(ValueError, match="labels must be different from one another, got x, x"):
        read_labelled([("a", "x")], labels=["x", "x"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\n", "a.csv: there are no examples in it"),
        ("a.csv", "", "no text and no label among the columns"),
        ("a.csv", "text,label\na,1\nb\nc,2,3\n", "a.csv:3: 1 cells, and the header has 2\n.*a.csv:4: 3 cells"),
        ("a.csv", "text,sort\na,1\n", "a.csv:1: no label among the columns text, sort"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": null}\n', "a.jsonl:2: there is no label"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": [1]}\n', "a.jsonl:2: list is no label"),
        ("a.txt", "a\nb\n", "lines of text have no labels: give .csv"),
        ("missing.csv", None, r"missing\.csv: No such file"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        read_labelled(tmp_path / name)


def test_what_is_no_data_at_all() -> None:
    for data, message in ((3, "must be a path or an iterable"), ({"text": []}, "must be a path or"), ("-", "standard")):
        with pytest.raises(TypeError, match=message):
            Data(data, "masked_lm")


def test_masked_words_take_texts_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    data = Data(tmp_path / "a.txt", "masked_lm")
    assert [example.text for example in data] == ["one", "two"]
    assert data.survey().examples == 2
    assert Data([{"text": "a", "label": "x"}, "b"], "masked_lm").survey().names == ()
    with pytest.raises(ValueError, match=r"data\[1\]: text must be text, got tuple"):
        Data(["a", ("b", 1)], "masked_lm").survey()


def test_words_and_their_labels() -> None:
    data = Data([(["a", "b"], ["O", "X"]), {"text": ["c"], "label": ["O"]}], TOKENS)
    survey = data.survey()
    assert (survey.examples, survey.names, survey.counts) == (2, ("O", "X"), (2, 1))
    assert [data.numbers(survey.names)(example) for example in data] == [[0, 1], [0]]
    wrong = Data([(["a"], ["O", "X"]), ("a b", ["O"]), ([], []), (["a"], None), (["a"], [0.5])], TOKENS)
    with pytest.raises(RecordError) as caught:
        wrong.survey()
    for message in (
        "data[0]: label must be a list of as many labels as words, 1, got 2", "data[1]: text must be a list of words",
        "data[2]: there are no words", "data[3]: label must be a list", "data[4]: 0.5 is no label",
    ):  # fmt: skip
        assert message in str(caught.value)


def test_examples_without_labels_where_a_teacher_has_them() -> None:
    data = Data(["a", ("b", "x"), {"text": "c"}], SENTENCES, unlabelled=True)
    survey = data.survey(["x", "y"], complete=False)
    assert survey.counts == (1, 0)
    assert [data.numbers(survey.names)(example) for example in data] == [-1, 0, -1]
    assert Data(["a", "b"], SENTENCES, unlabelled=True).survey(["x", "y"]).counts == ()
