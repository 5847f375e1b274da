"""Names that code written for transformers touches: each an expression, evaluated with its objects and with ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from tests.synthetic_tokenizer import write_tokenizer

TEXTS = ["the city of light", "wine is greatest , people play music"]
IDS = [[1, 2], [4]]
PAIR = ("the city of light", "wine")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tokenizer(tmp_path_factory.mktemp("names"), 1200, token_types=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    said = json.loads((folder / "tokenizer_config.json").read_text())
    said["additional_special_tokens"] = ["<a>", "<b>"]
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    return folder


@pytest.fixture(scope="module")
def both(folder: Path) -> tuple[Any, Any]:
    """transformers' tokenizer and ours."""
    transformers = pytest.importorskip("transformers", reason="compares with transformers: install the extra `parity`")
    return transformers.AutoTokenizer.from_pretrained(folder), minidistil.AutoTokenizer.from_pretrained(folder)


def _plain(value: Any) -> Any:
    """A result as lists and dictionaries of plain values; what else there is, by its text."""
    if isinstance(value, np.ndarray):
        return ["array", str(value.dtype), value.tolist()]
    if hasattr(value, "items"):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, (bool, int, str)) else repr(value)


OF_TOKENIZERS: dict[str, Callable[[Any], Any]] = {
    "special_tokens_map": lambda t: t.special_tokens_map,
    "all_special_tokens": lambda t: sorted(t.all_special_tokens),
    "all_special_ids": lambda t: sorted(t.all_special_ids),
    "extra_special_tokens": lambda t: t.extra_special_tokens,
    "get_added_vocab": lambda t: t.get_added_vocab(),
    "added_tokens_encoder": lambda t: t.added_tokens_encoder,
    "added_tokens_decoder": lambda t: sorted(t.added_tokens_decoder),
    "vocab": lambda t: t.vocab,
    "len": lambda t: [len(t), t.vocab_size, bool(t), t.is_fast],
    "pad_token_type_id": lambda t: t.pad_token_type_id,
    "max_len": lambda t: [t.max_len_single_sentence, t.max_len_sentences_pair],
    "special tokens mask": lambda t: t.get_special_tokens_mask(t(TEXTS[1]).input_ids, already_has_special_tokens=True),
    "skip_special_tokens": lambda t: t.decode(t("wine <a> [SEP]").input_ids, skip_special_tokens=True),
    "pad a batch": lambda t: t.pad(t(TEXTS)),
    "pad a list": lambda t: t.pad([t(text) for text in TEXTS], return_tensors="np"),
    "pad one": lambda t: t.pad(t(TEXTS[0]), padding="max_length", max_length=9),
    "pad one, longest": lambda t: t.pad(t(TEXTS[0])),
    "pad without masks": lambda t: t.pad({"input_ids": [[1, 2, 3], [4]]}, pad_to_multiple_of=4),
    "pad left": lambda t: t.pad({"input_ids": IDS, "special_tokens_mask": [[1, 0], [0]]}, padding_side="left"),
    "pad arrays": lambda t: t.pad([{"input_ids": np.arange(3 - i), "labels": np.int64(i)} for i in range(2)]),
    "pad fractions": lambda t: t.pad({"input_ids": IDS, "labels": [0.5, 1.5]}, return_tensors="np"),
    "pad, no mask wanted": lambda t: t.pad({"input_ids": IDS}, return_attention_mask=False),
    "pad nothing": lambda t: t.pad({"input_ids": IDS}, padding=False),
    "pad what else there is": lambda t: t.pad({"input_ids": IDS, "names": ["a", "b"]}),
}  # fmt: skip
OF_ENCODINGS: dict[str, Callable[[Any], Any]] = {
    "data": lambda e: dict(e.data),
    "to": lambda e: e.to("cpu") is e,
    "is_fast": lambda e: e.is_fast,
    "n_sequences": lambda e: e.n_sequences,
    "[1]": lambda e: e[1].tokens,
    "[-1]": lambda e: e[-1].ids,
    "[0:2]": lambda e: [one.ids for one in e[0:2]],
    "word_to_tokens": lambda e: [e.word_to_tokens(1, word) for word in range(5)],
    "word_to_tokens of row 0": lambda e: [e.word_to_tokens(1), e.word_to_tokens(2).start],
    "word_to_tokens of a second": lambda e: e.word_to_tokens(2, 0, 1),
    "token_to_sequence": lambda e: [e.token_to_sequence(2, i) for i in range(8)],
    "token_to_chars": lambda e: [e.token_to_chars(1, 3).start, e.token_to_chars(1, 3), e.token_to_chars(0)],
    "word_to_chars": lambda e: [e.word_to_chars(1, 2).end, e.word_to_chars(0)],
    "keys": lambda e: [list(e.keys()), "input_ids" in e, len(e)],
    "convert_to_tensors": lambda e: type(e)({"input_ids": [[1, 2]]}).convert_to_tensors("np"),
    "made by hand": lambda e: type(e)(data={"input_ids": [[1, 2]]}, tensor_type="np"),
    "padded": lambda e: type(e)({"input_ids": [[1]]}).is_fast,
}


@pytest.mark.parametrize("name", OF_TOKENIZERS)
def test_of_tokenizers(name: str, both: tuple[Any, Any]) -> None:
    want, got = (_plain(OF_TOKENIZERS[name](tokenizer)) for tokenizer in both)
    assert got == want


@pytest.mark.parametrize("name", OF_ENCODINGS)
def test_of_encodings(name: str, both: tuple[Any, Any]) -> None:
    texts: list[Any] = [(TEXTS[0], TEXTS[0]), (TEXTS[1], TEXTS[1]), PAIR]
    want, got = (_plain(OF_ENCODINGS[name](tokenizer(texts))) for tokenizer in both)
    assert got == want


def test_names_of_transformers_4(folder: Path) -> None:
    tokenizer = minidistil.BertTokenizer.from_pretrained(folder)
    assert tokenizer.batch_encode_plus([PAIR, PAIR], truncation=True, max_length=5) == tokenizer(
        [PAIR, PAIR], truncation=True, max_length=5
    )
    assert tokenizer.encode_plus(*PAIR, return_tensors="np").input_ids.shape == (1, 8)
    assert tokenizer.additional_special_tokens == ["<a>", "<b>"]
    with pytest.raises(TypeError, match="batch_encode_plus takes a list of texts or of pairs, got str"):
        tokenizer.batch_encode_plus("the city")


def test_what_is_refused(folder: Path) -> None:
    tokenizer = minidistil.AutoTokenizer.from_pretrained(folder)
    encoding = tokenizer(TEXTS)
    with pytest.raises(ValueError, match="CPU only, got device 'cuda'"):
        encoding.to("cuda")
    with pytest.raises(ValueError, match="words and offsets are in what the tokenizer returned"):
        tokenizer.pad(encoding).word_ids()
    with pytest.raises(ValueError, match=r"with input_ids, these have \['a'\]"):
        tokenizer.pad({"a": [1]})
    with pytest.raises(TypeError, match="pad takes what a tokenizer returned, or a list of it, got str"):
        tokenizer.pad("the city")
    with pytest.raises(ValueError, match="input_ids are of 2 texts, and token_type_ids of another number"):
        tokenizer.pad({"input_ids": [[1], [2]], "token_type_ids": [[0]]})
    with pytest.raises(ValueError, match="padding_side must be one of right, left, got 'up'"):
        tokenizer.pad(encoding, padding_side="up")
    with pytest.raises(ValueError, match=r"return_tensors must be None or .np., got 'pt'"):
        tokenizer.pad(encoding, return_tensors="pt")
    with pytest.raises(ValueError, match="names does not form an array of numbers"):
        tokenizer.pad({"input_ids": [[1], [2]], "names": ["a", "b"]}, return_tensors="np")
    with pytest.raises(ValueError, match="pass already_has_special_tokens=True"):
        tokenizer.get_special_tokens_mask([1, 2])
    with pytest.raises(AttributeError, match="this encoding has no 'labels'"):
        encoding.labels  # noqa: B018
