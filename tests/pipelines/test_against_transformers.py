"""Each pipeline beside transformers' own, in the pinned configuration, on texts that are hard to get right."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import minidistil
from tests.parity.conftest import torch_reference  # noqa: F401
from tests.pipelines.checkpoints import AWKWARD, LONG

pytestmark = pytest.mark.parity

BACKEND = os.environ.get("MINIDISTIL_TEST_BACKEND", "engine")
TEXTS = list(AWKWARD.values())
OTHERS = ["roberta", "xlmroberta", "camembert", "albert", "electra", "mobilebert"]
Find = Callable[[str], Path]
Call = tuple[tuple, dict[str, Any]]


@pytest.fixture
def compare(torch_reference: Any, checkpoint: Find) -> Callable[..., list[Any]]:  # noqa: F811
    """Ask both the same; `theirs` are calls that differ for transformers. Returns our answers."""

    def ask(task: str, name: str, calls: list[Call], theirs: list[Call] | None = None, **options: Any) -> list[Any]:
        folder = checkpoint(name)
        want = torch_reference.pipeline_answers(task, str(folder), options, theirs or calls)
        pipe = minidistil.pipeline(task, model=folder, backend=BACKEND, threads=2, **options)
        got = [pipe(*positional, **named) for positional, named in calls]
        for call, mine, other in zip(calls, got, want, strict=True):
            assert_same(mine, other, repr(call)[:200])
        return got

    return ask


def assert_same(got: Any, want: Any, where: str) -> None:
    """Everything equal, floats to 1e-6; a string in place of transformers' answer is its error."""
    assert not (isinstance(want, str) and ("Error: " in want or "Exception: " in want)), want
    if isinstance(want, float):
        assert got == pytest.approx(want, rel=1e-6, abs=1e-6), where
    elif isinstance(want, dict):
        assert list(got) == list(want), where
        for key in want:
            assert_same(got[key], want[key], f"{where} {key}")
    elif isinstance(want, list):
        assert isinstance(got, list)
        assert len(got) == len(want), where
        for i, (mine, other) in enumerate(zip(got, want, strict=True)):
            assert_same(mine, other, f"{where} [{i}]")
    else:
        assert got == want, where


@pytest.mark.parametrize(
    "name", ["sentiment", "topics", "several", "rating", "single", *(f"topics-{family}" for family in OTHERS)]
)
def test_text_classification(compare: Callable, name: str) -> None:
    pairs = [{"text": a, "text_pair": b} for a, b in zip(TEXTS, reversed(TEXTS), strict=True)]
    several: list[Call] = [
        ((TEXTS,), {}),
        ((TEXTS,), {"top_k": None}),
        ((TEXTS,), {"top_k": 2}),
        (("one",), {}),
        (("one",), {"top_k": 1}),
        (("one",), {"top_k": None}),
        ((["one"],), {}),
        ((pairs,), {}),
        ((pairs[0],), {}),
        ((pairs[0],), {"top_k": 3}),
        ((TEXTS,), {"function_to_apply": "sigmoid", "top_k": None}),
        ((TEXTS,), {"function_to_apply": "none"}),
        ((TEXTS,), {"function_to_apply": "softmax", "top_k": None}),
        (([*TEXTS, LONG],), {"truncation": True, "top_k": None}),
        (([LONG, "short"],), {"truncation": True, "max_length": 50, "padding": True}),
    ]
    compare("text-classification", name, several)


def test_text_classification_with_top_k_at_construction(compare: Callable) -> None:
    compare("sentiment-analysis", "topics", [(("one",), {}), ((["one", "two"],), {})], top_k=3)


@pytest.mark.parametrize("name", ["entities", "entities-bert", *(f"entities-{family}" for family in OTHERS)])
@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
def test_token_classification(compare: Callable, name: str, strategy: str) -> None:
    calls: list[Call] = [
        ((TEXTS,), {"aggregation_strategy": strategy}),
        ((TEXTS,), {"aggregation_strategy": strategy, "ignore_labels": []}),
        ((TEXTS,), {"aggregation_strategy": strategy, "ignore_labels": ["MISC", "B-PER", "LOC"]}),
        ((AWKWARD["surrogates"],), {"aggregation_strategy": strategy}),
        (([AWKWARD["accents"]],), {"aggregation_strategy": strategy}),
    ]
    got = compare("token-classification", name, calls)
    entities = [entity for answer in got[1] for entity in answer]
    assert len(entities) > 40
    for text, answer in zip(TEXTS, got[1], strict=True):
        assert all(0 <= e["start"] <= e["end"] <= len(text) for e in answer)


@pytest.mark.parametrize("name", ["entities", *(f"entities-{family}" for family in OTHERS)])
@pytest.mark.parametrize("strategy", ["simple", "first", "average", "max"])
def test_token_classification_of_long_texts_by_stride(compare: Callable, name: str, strategy: str) -> None:
    for stride in (0, 16, 200) if name == "entities" else (16,):
        options = {"aggregation_strategy": strategy, "stride": stride}
        compare("ner", name, [((LONG,), {}), (([LONG[:4000], "Anna in Rome", LONG[5000:]],), {})], **options)


@pytest.mark.parametrize("name", ["entities", *(f"entities-{family}" for family in OTHERS)])
def test_token_classification_cut_as_transformers_cuts(compare: Callable, name: str) -> None:
    """What transformers does with a long text without a word, minidistil does where told to."""
    compare("ner", name, [((LONG,), {"truncation": True})], theirs=[((LONG,), {})])


@pytest.mark.parametrize("name", ["entities", *(f"entities-{family}" for family in OTHERS if family != "roberta")])
@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
def test_token_classification_of_words(compare: Callable, name: str, strategy: str) -> None:
    words = [text.split() for text in TEXTS if text.split()]
    options = {"aggregation_strategy": strategy, "is_split_into_words": True}
    compare(
        "ner",
        name,
        [((words,), options), ((words[0],), options), ((words,), {**options, "delimiter": "--"})],
    )


@pytest.mark.parametrize("name", ["entailment", "entailment-first", *(f"entailment-{family}" for family in OTHERS)])
def test_zero_shot_classification(compare: Callable, name: str) -> None:
    texts = [text for text in TEXTS if text]
    labels = ["travel", "cooking", "law", "naïve café", "🎻 music", "北京"]
    calls: list[Call] = [
        ((texts,), {"candidate_labels": labels}),
        ((texts, labels), {"multi_label": True}),
        ((texts[0], "travel, cooking ,law,"), {}),
        (([texts[0]], ["travel"]), {}),
        ((texts[0], labels), {"hypothesis_template": "Dies handelt von {}, oder?"}),
        ((texts[0], ["same", "other", "same"]), {}),
        (([LONG, texts[0]], labels), {}),
    ]
    ours = [*calls[:-1], ((calls[-1][0]), {"truncation": True})]
    compare("zero-shot-classification", name, ours, theirs=calls)


def test_zero_shot_classification_without_an_entailment_label(compare: Callable) -> None:
    with pytest.warns(UserWarning, match="none of the labels NEGATIVE, POSITIVE begins with 'entail'"):
        compare("zero-shot-classification", "sentiment", [(("a text", ["x", "y"]), {})])


@pytest.mark.parametrize("name", ["encoder", *(f"encoder-{family}" for family in OTHERS)])
def test_feature_extraction(compare: Callable, name: str) -> None:
    calls: list[Call] = [
        ((TEXTS,), {}),
        (("one",), {}),
        (([LONG],), {"truncation": True}),
        ((LONG,), {"tokenize_kwargs": {"truncation": True, "max_length": 20}}),
    ]
    compare("feature-extraction", name, calls)


@pytest.mark.parametrize("name", [f"words-{family}" for family in OTHERS])
def test_fill_mask(compare: Callable, checkpoint: Find, name: str) -> None:
    mask = minidistil.AutoTokenizer.from_pretrained(checkpoint(name)).mask_token
    texts = [f"{text} {mask}{text[:9]}" for text in TEXTS]
    calls: list[Call] = [
        ((texts,), {}),
        ((f"Anna {mask} in {mask}.",), {"top_k": 3}),
        (([LONG[:1000] + mask, mask],), {"top_k": 1}),
        ((texts[0],), {"targets": ["a", "e", "n"]}),
        ((mask + LONG,), {"tokenizer_kwargs": {"truncation": True}}),
    ]
    compare("fill-mask", name, calls)
