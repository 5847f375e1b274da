"""What pipelines refuse: wrong inputs, options, models and tokenizers, with one clear error each."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

import minidistil
from tests.pipelines.checkpoints import TOO_LONG

Small = Callable[[str], Any]
QA = "question-answering"
REFUSED: list[tuple[str, str, Any, dict[str, Any], type[Exception], str]] = [
    ("text-classification", "sentiment", 5, {}, TypeError, 'takes a str or {"text": ..., "text_pair": ...}'),
    ("text-classification", "sentiment", ["a", None], {}, TypeError, "text 1 must be a str, got NoneType"),
    ("text-classification", "sentiment", [["a", "b"]], {}, TypeError, 'write a pair as {"text": ..., "text_pair"'),
    ("text-classification", "sentiment", {"txt": "a"}, {}, TypeError, "got {txt: str}"),
    ("text-classification", "sentiment", {"text": "a", "text_pair": 3}, {}, TypeError, "text_pair: int"),
    ("text-classification", "sentiment", "a", {"top_k": 0}, ValueError, "top_k must be positive, got 0"),
    ("text-classification", "sentiment", "a", {"top_k": "2"}, TypeError, "top_k must be a whole number, got str"),
    ("text-classification", "sentiment", "a", {"function_to_apply": "tanh"}, ValueError, "sigmoid, softmax, none"),
    ("text-classification", "sentiment", "a", {"pool_windows": "sum"}, ValueError, 'must be "mean", "max" or None'),
    ("text-classification", "sentiment", TOO_LONG, {"pool_windows": "max", "stride": 510}, ValueError, "stride=510"),
    ("text-classification", "sentiment", "a", {"stride": -1}, ValueError, "stride must not be negative"),
    ("text-classification", "sentiment", "a", {"targets": "a"}, TypeError, "has no option targets; it has top_k"),
    ("text-classification", "sentiment", "a", {"truncation": "cut"}, ValueError, "truncation must be"),
    ("text-classification", "sentiment", "a", {"batch_size": 0}, ValueError, "batch_size must be positive"),
    ("text-classification", "sentiment", "a", {"batch_tokens": -3}, ValueError, "batch_tokens must be positive"),
    ("text-classification", "sentiment", "a", {"max_length": 0}, ValueError, "max_length must be positive"),
    ("text-classification", "sentiment", b"a", {}, TypeError, "got bytes"),
    ("text-classification", "sentiment", ["a", "\ud83d"], {}, UnicodeError, "half of a surrogate pair"),
    ("ner", "entities", [["a", "\ud83d"]], {"is_split_into_words": True}, UnicodeError, "half of a surrogate pair"),
    (QA, "questions", {"question": "a\ud83d", "context": "b"}, {}, UnicodeError, "half of a surrogate pair"),
    ("ner", "entities", "a", {"aggregation_strategy": "mean"}, ValueError, "one of none, simple, first, average, max"),
    ("ner", "entities", "a", {"ignore_labels": "O"}, TypeError, "must be a list of labels"),
    ("ner", "entities", "a", {"ignore_labels": 3}, TypeError, "ignore_labels must be a list of labels, got int"),
    ("ner", "entities", "a", {"stride": 3}, ValueError, 'aggregation_strategy="none" makes none'),
    (
        "ner",
        "entities",
        TOO_LONG,
        {"stride": 510, "aggregation_strategy": "max"},
        ValueError,
        "stride=510 must be less",
    ),
    ("ner", "entities", TOO_LONG, {"max_length": 2}, ValueError, "leave no room"),
    ("ner", "entities", "a b", {"is_split_into_words": True}, TypeError, "takes a str"),
    ("ner", "entities", [["a", 3]], {"is_split_into_words": True}, TypeError, "must be a list of words"),
    ("ner", "entities", ["a", ["b"]], {}, TypeError, "text 1 must be a str, got list"),
    (QA, "questions", "what ?", {}, TypeError, 'takes a {"question": str, "context": str}'),
    (QA, "questions", {"question": "a"}, {}, TypeError, "got {question}"),
    (
        QA,
        "questions",
        {"question": "", "context": "b"},
        {},
        ValueError,
        "question of text 0 is empty",
    ),
    (
        QA,
        "questions",
        {"question": "a", "context": None},
        {},
        TypeError,
        "must be a str, got NoneType",
    ),
    (QA, "questions", ["a", "b"], {}, TypeError, "text 0 must be {"),
    (QA, "questions", None, {}, TypeError, "pass question= and context="),
    (
        QA,
        "questions",
        None,
        {"question": ["a"], "context": ["b", "c"]},
        ValueError,
        "1 questions and 2",
    ),
    (QA, "questions", None, {"question": "a", "context": ["b"]}, TypeError, "got str and list"),
    (QA, "questions", {"question": "a", "context": "b"}, {"top_k": 0}, ValueError, "top_k must be"),
    (
        QA,
        "questions",
        {"question": TOO_LONG, "context": "b"},
        {},
        ValueError,
        "leaves windows of 384 tokens too little room",
    ),
    ("zero-shot-classification", "entailment", "a", {}, ValueError, "needs candidate_labels"),
    ("zero-shot-classification", "entailment", "a", {"candidate_labels": []}, ValueError, "needs candidate_labels"),
    ("zero-shot-classification", "entailment", "a", {"candidate_labels": " , "}, ValueError, "needs candidate_labels"),
    ("zero-shot-classification", "entailment", "a", {"candidate_labels": [3]}, TypeError, "must be str, got int"),
    (
        "zero-shot-classification",
        "entailment",
        "a",
        {"candidate_labels": "x", "hypothesis_template": "no place"},
        ValueError,
        "has no {}",
    ),
    (
        "zero-shot-classification",
        "entailment",
        "a",
        {"candidate_labels": "x", "hypothesis_template": "{} and {}"},
        ValueError,
        "must have one {}",
    ),
    (
        "zero-shot-classification",
        "entailment",
        "a",
        {"candidate_labels": "x", "pool_windows": "sum"},
        ValueError,
        'must be "mean", "max" or None',
    ),
    (
        "zero-shot-classification",
        "entailment",
        "a",
        {"candidate_labels": "x", "stride": -1},
        ValueError,
        "stride must not be negative",
    ),
    ("feature-extraction", "encoder", {"a": 1}, {}, TypeError, "takes a str"),
    ("feature-extraction", "encoder", "a", {"tokenize_kwargs": {"stride": 1}}, TypeError, "of tokenize_kwargs"),
]


@pytest.mark.parametrize(
    ("task_name", "name", "inputs", "options", "kind", "message"), REFUSED, ids=[f"{r[0]}-{r[-1]}" for r in REFUSED]
)
def test_refused(
    small: Small, task_name: str, name: str, inputs: Any, options: dict, kind: type[Exception], message: str
) -> None:
    pipe = minidistil.pipeline(task_name, model=small(name))
    with pytest.raises(kind, match=re.escape(message)):
        pipe(inputs, **options)


@pytest.mark.parametrize(
    ("task_name", "wanted"),
    [
        ("text-classification", "AutoModelForSequenceClassification"),
        ("ner", "AutoModelForTokenClassification"),
        ("question-answering", "AutoModelForQuestionAnswering"),
        ("zero-shot-classification", "AutoModelForSequenceClassification"),
        ("fill-mask", "AutoModelForMaskedLM"),
    ],
)
def test_a_model_without_the_head(small: Small, task_name: str, wanted: str) -> None:
    with pytest.raises(TypeError, match=wanted):
        minidistil.pipeline(task_name, model=small("encoder"))


def test_a_checkpoint_without_the_head_is_said_to_be_good_for_another_task(small: Small) -> None:
    with pytest.raises(
        minidistil.CheckpointError, match=r"no model for pipeline\(.question-answering.\); it is one for"
    ):
        minidistil.pipeline("question-answering", model=small("entities").folder)


def test_a_single_label_tells_no_entailment(small: Small) -> None:
    with pytest.raises(ValueError, match="the single label LABEL_0"):
        minidistil.pipeline("zero-shot-classification", model=small("single"))


def test_unknown_tasks_are_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match="fill-mask, ner, question-answering, sentiment-analysis"):
        minidistil.pipeline("summarization", model="x")


def test_a_tokenizer_of_another_model(small: Small, minilm: Any) -> None:
    pipe = minidistil.pipeline("sentiment-analysis", model=small("sentiment"), tokenizer=minilm)
    with pytest.raises(ValueError, match=r"of text 0, token 1, is \d+ .*the vocabulary has 1200 entries"):
        pipe(["hello", "world"])
