"""Every folder of the zoo: its tokenizer answers as transformers' does, or is refused in the words that the row has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Backend

from minidistil.tokenization import AutoTokenizer, Tokenizer
from minidistil.tokenization.files import read_tokenizer_files
from minidistil.weights import CheckpointError
from tests.zoo.folders import ROWS
from tests.zoo.row import answers, write

_FILE = json.loads(Path(__file__).with_name("recorded.json").read_text(encoding="utf-8"))
RECORDED = {
    name: {key: _FILE["parts"][part] for key, part in parts.items()} for name, parts in _FILE["answers"].items()
}


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.error is None])
def test_answers(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    got = as_json(answers(AutoTokenizer.from_pretrained(write(tmp_path, row))))
    want = RECORDED[name]
    differing = [key for key in got.keys() | want.keys() if got.get(key) != want.get(key)]
    assert sorted(differing) == sorted(row.differs)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.error is not None])
def test_refusals(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=ROWS[name].error):
        AutoTokenizer.from_pretrained(write(tmp_path, ROWS[name]))


def test_the_recording_covers_what_it_should() -> None:
    assert RECORDED.keys() == {name for name, row in ROWS.items() if row.error is None}
    assert len(ROWS) > 100
    assert {row.model_type for row in ROWS.values()} >= {
        "bert", "distilbert", "roberta", "xlm-roberta", "camembert", "albert", "electra", "mobilebert",
    }  # fmt: skip
    masks = [answer["roles"]["mask_token"] for answer in RECORDED.values()]
    assert sum(token is not None for token, _ in masks) > 80
    unknown = RECORDED["bert-base-uncased"]["roles"]["unk_token"][1]
    assert RECORDED["bert-base-uncased"]["texts"][0][0].count(unknown) == 0


def test_a_vocabulary_of_another_kind_is_read_as_its_file_says(tmp_path: Path) -> None:
    """transformers makes a RobertaTokenizer of a vocabulary of words, and finds letters."""
    folder = write(tmp_path, ROWS["a class of another kind"])
    tokenizer, file = AutoTokenizer.from_pretrained(folder), Backend.from_file(str(folder / "tokenizer.json"))
    for text in ("Paris is the [MASK] of France.", "the café, the city"):
        assert tokenizer(text)["input_ids"] == file.encode(text).ids
        assert tokenizer.tokenize(text)[0] in ("paris", "the")
    assert (tokenizer.mask_token, tokenizer.pad_token) == (None, None)


@pytest.mark.parametrize(
    ("name", "settings", "text", "tokens"),
    [
        ("bert-base-uncased", {"do_lower_case": False}, "Paris café", ["Paris", "café"]),
        ("bert-base-cased", {"do_lower_case": True, "strip_accents": False}, "Paris café", ["paris", "café"]),
        ("bert-base-uncased", {"tokenize_chinese_chars": False}, "你好", ["你", "##好"]),
        ("roberta-base", {"add_prefix_space": True}, "Paris", ["ĠParis"]),
        ("xlm-roberta-base", {"add_prefix_space": False}, "Paris", ["P", "a", "r", "i", "s"]),
        ("vocab.json and merges.txt", {"add_prefix_space": True}, "Paris", ["ĠParis"]),
        ("spiece.model", {"do_lower_case": False}, "Paris café", ["▁Paris", "▁cafe"]),
        ("bert-base-uncased", {"extra_special_tokens": ["cafe is"]}, "the cafe is", ["the", "cafe is"]),
    ],
)
def test_settings_of_the_caller(
    name: str, settings: dict[str, Any], text: str, tokens: list[str], tmp_path: Path
) -> None:
    folder = write(tmp_path, ROWS[name])
    assert AutoTokenizer.from_pretrained(folder).tokenize(text) != tokens
    assert Tokenizer(read_tokenizer_files(folder, settings)).tokenize(text) == tokens


def test_a_mask_takes_its_space(tmp_path: Path) -> None:
    """As CamemBERT's class has it, and RoBERTa's file: of "the <mask>" no token is a space."""
    for name in ("camembert-base", "roberta-base"):
        tokenizer = AutoTokenizer.from_pretrained(write(tmp_path / name, ROWS[name]))
        assert len(tokenizer.tokenize("the <mask>")) == len(tokenizer.tokenize("the")) + 1
