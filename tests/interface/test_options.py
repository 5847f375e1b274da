"""Options of the wrong kind are refused by name, wherever they are taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil import util
from minidistil._options import check_number, is_one_of


@pytest.fixture(scope="module")
def callers(sentence_small: Path, reranker_small: Path, distilbert_small: Path) -> dict[str, Callable[..., Any]]:
    encoder = minidistil.load(sentence_small, backend="exact")
    reranker = minidistil.CrossEncoder(reranker_small, backend="exact")
    masks = minidistil.load(distilbert_small, backend="exact")
    fill = minidistil.pipeline("fill-mask", masks, masks.tokenizer)
    features = minidistil.pipeline("feature-extraction", masks, masks.tokenizer)
    return {
        "encode": lambda **options: encoder.encode("a", **options),
        "predict": lambda **options: reranker.predict(("a", "b"), **options),
        "rank": lambda **options: reranker.rank("a", ["b"], **options),
        "tokenizer": lambda **options: masks.tokenizer("a", **options),
        "fill-mask": lambda **options: fill("a [MASK]", **options),
        "features": lambda **options: features("a", **options),
        "search": lambda **options: util.semantic_search(np.ones((1, 2)), np.ones((1, 2)), **options),
    }


NUMBERS = {
    "encode": ("batch_size", "truncate_dim"), "predict": ("batch_size",), "rank": ("top_k",),
    "tokenizer": ("max_length", "pad_to_multiple_of", "stride"), "fill-mask": ("top_k", "batch_size"),
    "features": ("batch_tokens", "max_length"), "search": ("top_k", "corpus_chunk_size"),
}  # fmt: skip
OTHERS = [
    ("encode", "prompt", 1, TypeError, "prompt must be a str, got int"),
    ("encode", "prompt_name", ["query"], TypeError, "prompt_name must be a str, got list"),
    ("predict", "prompt_name", {}, TypeError, "prompt_name must be a str, got dict"),
    ("encode", "precision", ["int8"], ValueError, "precision must be one of"),
    ("encode", "output_value", np.ones(2), ValueError, "output_value must be"),
    ("encode", "truncation", [True], ValueError, "truncation must be"),
    ("predict", "activation_fn", 1.0, TypeError, "activation_fn must be a function or the name of an activation"),
    ("tokenizer", "padding", [], ValueError, "padding must be"),
    ("tokenizer", "truncation", {}, ValueError, "truncation must be"),
    ("fill-mask", "tokenizer_kwargs", 1, TypeError, "tokenizer_kwargs must be a dictionary, got int"),
    ("features", "tokenize_kwargs", "x", TypeError, "tokenize_kwargs must be a dictionary, got str"),
    ("fill-mask", "targets", 1, TypeError, "targets must be a str or a list of str, got int"),
    ("fill-mask", "targets", ["a\ud800"], UnicodeError, "half"),
]


@pytest.mark.parametrize(("caller", "option"), [(c, option) for c, options in NUMBERS.items() for option in options])
def test_numbers(caller: str, option: str, callers: dict[str, Callable[..., Any]]) -> None:
    for value in ("8", 1.5, [1]):
        with pytest.raises(TypeError, match=f"^{option} must be a whole number, got {type(value).__name__}$"):
            callers[caller](**{option: value})
    for value, fault in (
        (-1, r"(be positive|not be negative), got -1"),
        (2**31, r"be less than 2\^31, got 2147483648"),
    ):
        with pytest.raises(ValueError, match=f"^{option} must {fault}$"):
            callers[caller](**{option: value})
    callers[caller](
        **{option: np.int32(8)} if option != "pad_to_multiple_of" else {option: np.int32(8), "padding": True}
    )


@pytest.mark.parametrize(("caller", "option", "value", "error", "fault"), OTHERS)
def test_others(
    caller: str, option: str, value: Any, error: type[Exception], fault: str, callers: dict[str, Callable[..., Any]]
) -> None:
    with pytest.raises(error, match=fault):
        callers[caller](**{option: value})


@pytest.mark.parametrize("value", [np.array("a"), 1, None])
def test_what_is_no_text_and_no_list_of_texts(
    value: Any, sentence_small: Path, reranker_small: Path, distilbert_small: Path
) -> None:
    model = minidistil.load(distilbert_small, backend="exact")
    callers = [
        minidistil.load(sentence_small, backend="exact").encode,
        minidistil.CrossEncoder(reranker_small, backend="exact").predict,
        minidistil.pipeline("feature-extraction", model, model.tokenizer),
    ]
    for caller in callers:
        with pytest.raises(TypeError, match=f"got {type(value).__name__}$"):
            caller(value)


def test_embeddings_that_are_none() -> None:
    for function in (util.cos_sim, util.semantic_search):
        for value in ([[1.0], [1.0, 2.0]], "ab", {1}):
            with pytest.raises(TypeError, match="embeddings must be arrays of numbers"):
                function(value, np.ones((2, 2)))
    assert util.semantic_search(np.ones((1, 2)), []) == [[]]
    assert [hit["corpus_id"] for hit in util.semantic_search(np.ones(2), np.ones(2))[0]] == [0]


def test_what_a_number_is() -> None:
    assert check_number("n", None) is None
    assert [check_number("n", value) for value in (1, np.uint8(7), 2**31 - 1)] == [1, 7, 2**31 - 1]
    assert type(check_number("n", np.int64(1))) is int
    assert check_number("n", 0, 0) == 0


def test_what_one_of_some_values_is() -> None:
    assert is_one_of("a", ("a", None))
    assert is_one_of(None, ("a", None))
    assert is_one_of(np.str_("a"), {"a": 1})
    for value in ([], {}, np.array("a"), np.ones(3), ("a",), b"a", ["a"]):
        assert not is_one_of(value, ("a", None, True)), value


IDS: list[tuple[Any, str]] = [
    ([[1, 2], [1]], "lists of different lengths"), ([[1, 2]], r"got shape \(1, 2\)"), ([1.5], "whole numbers"),
    ([-1], "whole numbers"), ([2**32], "whole numbers"), (np.array([2**63], np.uint64), "whole numbers"),
    ("ab", "whole numbers"), (None, "whole numbers"), ([None], "whole numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("ids", "fault"), IDS)
@pytest.mark.parametrize("method", ["decode", "convert_ids_to_tokens"])
def test_ids_that_are_none(method: str, ids: Any, fault: str, distilbert_small: Path) -> None:
    tokenizer = minidistil.AutoTokenizer.from_pretrained(distilbert_small)
    with pytest.raises(ValueError, match=fault):
        getattr(tokenizer, method)(ids)


def test_ids_and_tokens_of_any_kind(distilbert_small: Path) -> None:
    tokenizer = minidistil.AutoTokenizer.from_pretrained(distilbert_small)
    assert tokenizer.convert_ids_to_tokens(2) == tokenizer.convert_ids_to_tokens(np.array(2)) == "[CLS]"
    assert tokenizer.convert_ids_to_tokens(memoryview(np.array([2, 3]))) == ["[CLS]", "[SEP]"]
    assert tokenizer.convert_ids_to_tokens([2, 2**31]) == ["[CLS]", None]
    assert tokenizer.convert_ids_to_tokens([]) == []
    assert tokenizer.decode([2, 2**31]) == "[CLS]"
    with pytest.raises(UnicodeError, match="half"):
        tokenizer.convert_tokens_to_ids(["a", "a\ud800"])
    for value in (1, None, b"ab", 1.5, np.array("a")):
        with pytest.raises(TypeError, match="a token is a str"):
            tokenizer.convert_tokens_to_ids(value)
    for value in (3, memoryview(np.ones((2, 2), int)), np.array(3)):
        with pytest.raises(TypeError, match=f"batch_decode takes lists of ids, got {type(value).__name__}"):
            tokenizer.batch_decode(value)
    with pytest.raises(TypeError, match="text_pair must be a list of as many texts, got int"):
        tokenizer(["a"], 1)
