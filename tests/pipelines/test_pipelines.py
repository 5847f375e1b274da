"""What holds for every pipeline: one or many, order, laziness, batches, long texts, and what is refused."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil.models.classes import DistilBertForTokenClassification
from minidistil.pipelines import base
from minidistil.pipelines.zero_shot_classification import entailment_scores
from tests.pipelines.checkpoints import AWKWARD, TOO_LONG, WORDS

Small = Callable[[str], Any]
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "text-classification": ("sentiment", {"top_k": None}),
    "token-classification": ("entities", {"aggregation_strategy": "average", "ignore_labels": []}),
    "question-answering": ("questions-bert", {"top_k": 3, "max_seq_len": 48}),
    "zero-shot-classification": ("entailment-first", {"candidate_labels": ["wine", "a new city", "law"]}),
    "feature-extraction": ("encoder", {}),
}


def _text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def _inputs(task: str, count: int, seed: int) -> list[Any]:
    rng = random.Random(seed)
    texts = [_text(rng, rng.choice([1, 2, 3, 9, 20, 60])) for _ in range(count)]
    if task == "question-answering":
        return [{"question": _text(rng, 4), "context": text} for text in texts]
    return texts


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def pipe(task: str, small: Small) -> Any:
    name, options = TASKS[task]
    return minidistil.pipeline(task, model=small(name), **options)


def test_one_many_and_lazily(task: str, pipe: Any) -> None:
    inputs = _inputs(task, 7, seed=1)
    answers = [pipe(item) for item in inputs]
    if task == "text-classification":  # top_k was given with the constructor: transformers wraps the answer to a str
        answers = [answer for (answer,) in answers]
    assert len({repr(answer) for answer in answers}) == 7
    assert pipe(inputs) == pipe(tuple(inputs)) == answers
    asked: list[Any] = []

    def stream() -> Iterator[Any]:
        for item in inputs:
            asked.append(item)
            yield item

    lazy = pipe(stream())
    assert asked == []
    assert next(lazy) == answers[0]
    assert len(asked) == 1
    assert list(lazy) == answers[1:]

    class Dataset:
        def __getitem__(self, i: int) -> Any:
            return inputs[i]

    assert list(pipe(Dataset())) == answers
    ahead = pipe(iter(inputs), batch_size=3)
    assert [next(ahead) for _ in range(7)] == answers
    assert pipe([]) == []
    assert list(pipe(iter([]))) == []


def test_no_answer_depends_on_its_neighbours(task: str, pipe: Any) -> None:
    """To the last bit: alone, in batches of any size, in any order, whichever windows share a call of the model."""
    inputs = _inputs(task, 12, seed=2)
    whole = pipe(inputs)
    order = random.Random(3).sample(range(12), 12)
    shuffled = pipe([inputs[i] for i in order])
    assert [shuffled[order.index(i)] for i in range(12)] == whole
    for options in ({"batch_size": 1}, {"batch_size": 2}, {"batch_tokens": 1}, {"batch_tokens": 100_000}):
        assert pipe(inputs, **options) == whole


def test_more_inputs_than_are_held_at_a_time(task: str, pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = _inputs(task, 11, seed=4)
    whole = pipe(inputs)
    monkeypatch.setattr(base, "_GROUP", 4)
    assert pipe(inputs) == whole


def test_windows_of_all_inputs_share_calls_of_the_model(task: str, pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    honest = type(pipe)._compute

    def compute(self: Any, windows: Any, batch: Any, options: Any) -> Any:
        sizes.append(batch.tokens)
        return honest(self, windows, batch, options)

    monkeypatch.setattr(type(pipe), "_compute", compute)
    inputs = _inputs(task, 40, seed=5)
    pipe(inputs)
    assert max(sizes) <= 2048
    assert len(sizes) == 1 or min(sizes[:-1]) > 2048 - 128
    total = sum(sizes)
    sizes.clear()
    pipe(inputs, batch_tokens=300)
    assert max(sizes) <= 300
    assert sum(sizes) == total


def test_progress_only_when_asked(task: str, pipe: Any, capsys: pytest.CaptureFixture[str]) -> None:
    inputs = _inputs(task, 3, seed=6)
    pipe(inputs)
    assert capsys.readouterr() == ("", "")
    pipe(inputs, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "3/3" in err


def test_threads_may_share_a_pipeline(task: str, pipe: Any) -> None:
    inputs = _inputs(task, 6, seed=7)
    whole = pipe(inputs)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(pipe(inputs))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [whole] * 3


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_texts_have_answers_that_lie_in_them(small: Small, name: str) -> None:
    text = AWKWARD[name]
    label = minidistil.pipeline("sentiment-analysis", model=small("sentiment"))(text)[0]
    assert label["label"] in ("NEGATIVE", "POSITIVE")
    assert 0.5 <= label["score"] <= 1
    find = minidistil.pipeline("ner", model=small("entities"), ignore_labels=[])
    for strategy in ("none", "simple", "first", "average", "max"):
        entities = find(text, aggregation_strategy=strategy)
        assert bool(entities) == bool(text.strip())
        assert all(0 <= e["start"] < e["end"] <= len(text) for e in entities)
    if text:
        ask = minidistil.pipeline("question-answering", model=small("questions"))
        found = ask(question="who ?", context=text, top_k=4, align_to_words=False)
        for answer in found if text.strip() else [found]:
            assert text[answer["start"] : answer["end"]] == answer["answer"]
            assert 0 <= answer["score"] <= 1


@pytest.mark.parametrize("task_name", ["text-classification", "zero-shot-classification", "feature-extraction"])
def test_long_texts_are_refused_or_cut_with_a_word(small: Small, task_name: str) -> None:
    name, options = TASKS[task_name]
    pipe = minidistil.pipeline(task_name, model=small(name), **options)
    texts = ["short", TOO_LONG, "short too", TOO_LONG]
    for setting in ({}, {"truncation": "error"}, {"truncation": False}):
        with pytest.raises(ValueError, match=re.escape("2 of the texts (index 1, 3) are longer than 512 tokens")):
            pipe(texts, **setting)
    with pytest.raises(ValueError, match=r"\(index 1\)"):
        list(pipe(iter(texts)))
    assert pipe.truncated == 0
    with pytest.warns(minidistil.TruncationWarning, match="2 of 4 texts are longer than 512 tokens") as caught:
        cut = pipe(texts, truncation="warn")
    assert caught[0].filename == __file__
    assert pipe.truncated == 2
    assert pipe(texts, truncation=True) == cut
    assert pipe.truncated == 4
    assert pipe(["short"], truncation=True) == cut[:1]
    with pytest.raises(ValueError, match="would have to remove" if "zero" in task_name else "longer than 3 tokens"):
        pipe(["one two three"], max_length=3)


def test_zero_shot_cuts_the_text_and_never_the_label(small: Small) -> None:
    classify = minidistil.pipeline("zero-shot-classification", model=small("entailment"), truncation=True)
    other = TOO_LONG[: len(TOO_LONG) // 2] + " and another end"
    assert classify(TOO_LONG, ["wine", "law"])["scores"] == classify(other, ["wine", "law"])["scores"]
    assert classify(TOO_LONG, ["wine", "law"])["scores"] != classify(TOO_LONG, ["wine", "city"])["scores"]
    with pytest.raises(ValueError, match="would have to remove"):
        classify("short", [TOO_LONG])


def test_pooled_windows_of_long_texts(small: Small) -> None:
    classify = minidistil.pipeline("text-classification", model=small("topics"), top_k=None)
    words = TOO_LONG.split()
    limit = classify.tokenizer.model_max_length - 2
    tokens = classify.tokenizer(TOO_LONG, add_special_tokens=False)["input_ids"]
    windows = classify.tokenizer.encode_windows([TOO_LONG], 512)[0]
    assert [len(w) for w in windows] == [512] * (len(tokens) // limit) + [len(tokens) % limit + 2]
    separate = []
    for window in windows:
        logits = classify.model(np.array([window.ids])).logits[0].astype(np.float64)
        separate.append(np.exp(logits) / np.exp(logits).sum())
    for pooling, wanted in (("mean", np.mean(separate, axis=0)), ("max", np.max(separate, axis=0))):
        (got,) = classify([TOO_LONG], pool_windows=pooling)
        scores = {row["label"]: row["score"] for row in got}
        assert [scores[f"LABEL_{i}"] for i in range(12)] == pytest.approx(wanted.tolist(), rel=1e-5)
        assert [row["score"] for row in got] == sorted(scores.values(), reverse=True)
    assert classify([TOO_LONG], pool_windows="mean", stride=100) != classify([TOO_LONG], pool_windows="mean")
    short = " ".join(words[:30])
    assert classify([short], pool_windows="mean") == classify([short])
    assert classify.truncated == 0


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_labels_of_long_texts_from_all_their_windows(small: Small, pooling: str, multi_label: bool) -> None:
    """Every window is asked about every label, in the same parts of the text, whatever the labels' lengths."""
    model, labels = small("entailment-first"), ["wine", "a new city of light", "law"]
    classify = minidistil.pipeline("zero-shot-classification", model=model, candidate_labels=labels)
    longest = "This example is a new city of light."
    parts = [
        window.ids[1 : window.sequence_ids.index(1) - 1]
        for window in classify.tokenizer.encode_windows([(TOO_LONG, longest)], 512, strategy="only_first", stride=9)[0]
    ]
    assert len(parts) > 3
    texts = [classify.tokenizer.decode(part) for part in parts]
    separate = [dict(zip(a["labels"], a["scores"], strict=True)) for a in classify(texts, multi_label=multi_label)]
    options = {"pool_windows": pooling, "stride": 9, "multi_label": multi_label}
    one, other = classify([TOO_LONG, "wine"], **options)
    by = np.mean if pooling == "mean" else np.max
    for label, score in zip(one["labels"], one["scores"], strict=True):
        assert score == pytest.approx(by([scores[label] for scores in separate]), rel=1e-6)
    assert one["scores"] == sorted(one["scores"], reverse=True)
    assert other == classify("wine", multi_label=multi_label)
    assert one == classify([TOO_LONG], batch_tokens=600, **options)[0]
    assert classify.truncated == 0


def test_unknown_words_are_shown_as_written(small: Small) -> None:
    find = minidistil.pipeline("ner", model=small("entities"), ignore_labels=[])
    entities = find("Paris ☃ ÉTÉ日")
    assert [(e["word"], e["start"], e["end"]) for e in entities][:2] == [("paris", 0, 5), ("☃", 6, 7)]
    assert entities[-1]["word"] == "日"


class _ByToken(DistilBertForTokenClassification):
    """Labels each token by its id alone, so that no window can change what is found."""

    def __init__(self, model: Any) -> None:
        self.__dict__ = model.__dict__

    def logits_packed(self, batch: Any) -> np.ndarray:
        chance = np.random.default_rng(0).standard_normal((self.config.vocab_size, self.config.num_labels))
        return chance.astype(np.float32)[batch.input_ids]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
def test_entities_of_long_texts_are_those_of_the_whole(small: Small, strategy: str, side: str) -> None:
    model = _ByToken(small("entities"))
    find = minidistil.pipeline("ner", model=model, aggregation_strategy=strategy)
    text = TOO_LONG[: TOO_LONG.index(" ", 1800)]
    count = len(find.tokenizer(text)["input_ids"])
    assert 300 < count < 512
    whole = find(text)
    find.tokenizer.truncation_side = side
    try:
        for limit in (count - 1, 300, 130, 40, 7, 4):
            assert find(text, max_length=limit) == whole
        assert find(text, max_length=count) == whole
    finally:
        find.tokenizer.truncation_side = "right"
    assert find.truncated == 0


def test_entities_of_long_texts_end_where_told(small: Small) -> None:
    find = minidistil.pipeline("ner", model=small("entities"), ignore_labels=[])
    with pytest.raises(ValueError, match="1 of the texts"):
        find(TOO_LONG, truncation="error")
    with pytest.warns(minidistil.TruncationWarning):
        assert len(find(TOO_LONG, truncation="warn")) == 510
    everything = find(TOO_LONG)
    assert everything[-1]["end"] == len(TOO_LONG)
    assert [e["index"] for e in everything] == list(range(1, len(everything) + 1))
    grouped = find([TOO_LONG, "paris"], aggregation_strategy="simple", stride=20)
    assert grouped[0][-1]["end"] == len(TOO_LONG)
    assert len(grouped[1]) == 1


def test_words_of_ones_own(small: Small) -> None:
    find = minidistil.pipeline("ner", model=small("entities"), ignore_labels=[], aggregation_strategy="first")
    words = ["paris", "is", "unbelievable", ",", "no?"]
    (one,) = find(words, is_split_into_words=True)
    assert [one] == find([words], is_split_into_words=True)
    joined = " ".join(words)
    assert one[0]["start"] == 0
    assert one[-1]["end"] == len(joined)
    (other,) = find(words, is_split_into_words=True, delimiter="___")
    assert other[-1]["end"] == len("___".join(words))
    assert [e["score"] for e in other] == [e["score"] for e in one]


def test_question_and_context_in_every_form(small: Small) -> None:
    ask = minidistil.pipeline("question-answering", model=small("questions"))
    context = "paris is the capital of france , and wine is its king"
    one = ask(question="what is paris ?", context=context)
    assert set(one) == {"score", "start", "end", "answer"}
    item = {"question": "what is paris ?", "context": context}
    assert one == ask(item["question"], context)
    assert one == ask(item) == ask([item]) == ask(question=["what is paris ?"], context=context)
    other = {"question": "who is king ?", "context": context}
    both = ask([item, other])
    assert both[0] == one
    assert both == ask(question=[item["question"], other["question"]], context=context)
    assert both == ask(question=[item["question"], other["question"]], context=[context, context])
    assert both == list(ask(i for i in (item, other)))
    assert both == ask(item, other)


def test_no_answer_is_as_likely_as_in_the_window_that_doubts_it_most(small: Small) -> None:
    ask = minidistil.pipeline("question-answering", model=small("questions"), handle_impossible_answer=True)
    question, context = "who is king ?", TOO_LONG[:1500]
    options = {"max_seq_len": 40, "doc_stride": 5}
    found = ask(question=question, context=context, top_k=100_000, max_answer_len=1, **options)
    (nothing,) = [answer for answer in found if answer["answer"] == ""]
    windows = ask.tokenizer.encode_windows([(question, context)], 40, strategy="only_second", stride=5)[0]
    doubts = []
    for window in windows:
        output = ask.model(np.array([window.ids]))
        inside = np.array([s == 1 or i == 0 for i, s in enumerate(window.sequence_ids)])
        start, end = (np.exp(x[0].astype(np.float64)) * inside for x in (output.start_logits, output.end_logits))
        doubts.append(start[0] / start.sum() * end[0] / end.sum())
    assert len(doubts) > 5
    assert doubts.index(min(doubts)) < len(doubts) - 1
    assert nothing["score"] == pytest.approx(min(doubts), rel=1e-5)


def test_labels_against_each_other_or_each_for_itself() -> None:
    logits = np.array([[1, 5, 3], [2, 0, 2.5], [-1, 4, 3]], np.float32)
    e = np.exp(logits.astype(np.float64))
    together, apart = (entailment_scores(logits, 2, many) for many in (False, True))
    assert together == pytest.approx(e[:, 2] / e[:, 2].sum(), rel=1e-6)
    assert apart == pytest.approx(e[:, 2] / (e[:, 2] + e[:, 0]), rel=1e-6)
    assert entailment_scores(logits, 0, True) == pytest.approx(e[:, 0] / (e[:, 0] + e[:, 2]), rel=1e-6)
    assert entailment_scores(logits[:1], 2, False) == pytest.approx(apart[:1])
    assert entailment_scores(logits * 1000, 2, False).tolist() == [0.5, 0, 0.5]  # no overflow
