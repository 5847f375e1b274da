"""Tokenizer files that nobody should trust: refused before the tokenizers library sees them, or its errors caught."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Backend

from minidistil.tokenization import AutoTokenizer, Tokenizer
from minidistil.tokenization import files as _tokenizer_files
from minidistil.tokenization.tokenizer_json import library, vocabulary_faults
from minidistil.weights import CheckpointError, limits
from tests.synthetic_tokenizer import write_tokenizer

Description = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tokenizer(tmp_path, 300, token_types=True)


def change(folder: Path, name: str, edit: Callable[[Any], Any]) -> None:
    path = folder / name
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(edit(content) or content))


def template(piece: Description, count: int) -> Callable[[Description], None]:
    """Puts a piece that many times more into the template for single texts."""
    return lambda description: description["post_processor"]["single"].extend([piece] * count)


def normalizers(*parts: Description) -> Callable[[Description], None]:
    return lambda description: description.update(normalizer={"type": "Sequence", "normalizers": list(parts)})


def replace(pattern: Description, content: str) -> Description:
    return {"type": "Replace", "pattern": pattern, "content": content}


def unigram(*tokens: str) -> Callable[[Description], None]:
    vocabulary = [["<unk>", 0.0], *([token, -1.0] for token in tokens)]
    return lambda description: description.update(model={"type": "Unigram", "unk_id": 0, "vocab": vocabulary})


def model(**values: Any) -> Callable[[Description], None]:
    return lambda description: description["model"].update(values)


def charsmap(*texts: str) -> Description:
    table = (4).to_bytes(4, "little") + bytes(4) + b"".join(text.encode() + b"\0" for text in texts)
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}


TEXT, SPECIAL = {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}
TWICE = replace({"String": "a"}, "aa")
BEYOND = {
    "a text in the template again": (template(TEXT, 1), "its post_processor has a template in which a text of the"),
    "a text five times": (template(TEXT, 4), "its post_processor has a template in which a text of the input stands"),
    "special tokens": (template(SPECIAL, 62), "its post_processor puts 65 pieces around a text; 64 are the most"),
    "ids of a special token": (
        lambda d: d["post_processor"]["special_tokens"]["[SEP]"].update(ids=[1] * 65, tokens=["a"] * 65),
        "its post_processor puts 65 pieces around a text; 64 are",
    ),
    "doublings": (normalizers(*[TWICE] * 13), "its normalizer may make a text 8192 times as long; 4096 times is"),
    "doublings without a type": (
        normalizers(*[{name: value for name, value in TWICE.items() if name != "type"}] * 13),
        "may make a text 8192 times as long",
    ),
    "doublings by a pattern": (normalizers(*[replace({"Regex": "a"}, "aa")] * 8), "may make a text 6561 times as long"),
    "one replacement": (normalizers(*[replace({"String": "a"}, "a" * 100)] * 2), "may make a text 10000 times as long"),
    "table of characters": (normalizers(charsmap("a", "b" * 5000)), "may make a text 5000 times as long"),
    "decoder": (lambda d: d.update(decoder={"type": "Sequence", "decoders": [TWICE] * 13}), "its decoder may make"),
    "parts": (normalizers(*[{"type": "Lowercase"}] * 64), "its normalizer has 65 parts; 64 are the most accepted"),
    "prefix": (
        normalizers({"type": "Prepend", "prepend": "a" * 1025}),
        "its normalizer has a text of 1025 bytes; 1024",
    ),
    "words": (model(max_input_chars_per_word=10**9), "has max_input_chars_per_word = 1000000000; 1024 is the most"),
    "prefix search": (
        unigram(*(f"{i:01024}" for i in range(limits.UNIGRAM_BYTES >> 10))),
        "has a vocabulary of 4194309 bytes to be searched by",
    ),
    "a long token": (unigram("ä" * 100_000), "has a token of 200000 bytes; 1024 are the most accepted"),
    "a long word": (lambda d: d["model"]["vocab"].update({"a" * 1025: 5}), "has a token of 1025 bytes; 1024 are"),
    "a prefix": (model(continuing_subword_prefix="a" * 1025), "has a token of 1025 bytes; 1024 are the most accepted"),
    "added token": (lambda d: d["added_tokens"][0].update(content="a" * 1025), "has a token of 1025 bytes; 1024 are"),
    "no text": (lambda d: d["added_tokens"][0].update(content=[1]), "adds [1] as a token, which is no text"),
    "many added": (
        lambda d: d.update(added_tokens=[d["added_tokens"][0]] * (limits.ADDED_TOKENS + 1)),
        "adds 65537 tokens; 65536 are the most accepted",
    ),
    "no object": (lambda d: [1], "is not a JSON object but list"),
    "no model": (lambda d: d.update(model=None), "has no model"),
    "its own refusal": (lambda d: d.update(normalizer={"type": "Magic"}), "cannot be read as a tokenizer: "),
}


@pytest.mark.parametrize("case", BEYOND)
def test_tokenizer_json_beyond_a_limit(folder: Path, awake: None, case: str) -> None:
    edit, message = BEYOND[case]
    change(folder, "tokenizer.json", edit)
    with pytest.raises(CheckpointError, match=re.escape(message)) as error:
        AutoTokenizer.from_pretrained(folder)
    assert str(folder / "tokenizer.json") in str(error.value)
    assert len(str(error.value)) < 1000


def test_limits_are_not_met_by_what_there_is(folder: Path) -> None:
    """Normalizers as ALBERT's and XLM-RoBERTa's, which quote, replace, decompose and shorten."""
    quotes = (replace({"String": "``"}, '"'), replace({"String": "''"}, '"'), replace({"Regex": " {2,}"}, " "))
    change(folder, "tokenizer.json", normalizers(*quotes, {"type": "NFKD"}, {"type": "StripAccents"}))
    assert AutoTokenizer.from_pretrained(folder).tokenize("the  city") == ["the", "city"]
    entries = [["a" * 1024, 0]] * (limits.UNIGRAM_BYTES >> 10)
    assert vocabulary_faults({"vocab": entries}) == []
    assert len(vocabulary_faults({"vocab": [*entries, ["a", 0]]})) == 1


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"])
def test_pipes_and_large_files(folder: Path, awake: None, name: str) -> None:
    if name == "vocab.txt":
        (folder / "tokenizer.json").unlink()
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(CheckpointError, match=f"{name}: is no regular file but a folder, a pipe or a device"):
        AutoTokenizer.from_pretrained(folder)
    (folder / name).unlink()
    most = {"tokenizer.json": limits.TOKENIZER_BYTES, "vocab.txt": limits.VOCABULARY_BYTES}
    with (folder / name).open("wb") as file:
        file.truncate(most.get(name, limits.JSON_BYTES) + 1)
    with pytest.raises(CheckpointError, match=rf"{name}: has \d+ bytes; {most.get(name, limits.JSON_BYTES)} are"):
        AutoTokenizer.from_pretrained(folder)


def test_what_the_library_raises_is_caught(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A panic, which is no Exception: its regular expressions give up where they would search for ever."""
    split = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    change(folder, "tokenizer.json", lambda d: d.update(pre_tokenizer=split))
    change(folder, "tokenizer_config.json", lambda c: {**c, "tokenizer_class": "PreTrainedTokenizerFast"})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    fault = "its tokenizer cannot encode this text: the tokenizers library panicked: "
    with pytest.raises(CheckpointError, match=f"{folder}: {fault}"):
        tokenizer("a" * 40 + "b")
    with pytest.raises(CheckpointError, match=f"{folder}: {fault}"):
        tokenizer.encode_windows(["a" * 40 + "b"], 8)
    capfd.readouterr()  # the library writes where it panicked
    change(folder, "tokenizer.json", lambda d: d.update(pre_tokenizer=None))
    change(folder, "tokenizer.json", lambda d: (d.update(added_tokens=[]), d["model"]["vocab"].pop("[UNK]"), d)[2])
    with pytest.raises(CheckpointError, match=r"cannot encode this text: WordPiece error: Missing \[UNK\]"):
        AutoTokenizer.from_pretrained(folder)("☃", add_special_tokens=False)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, RecursionError, KeyError])
def test_what_others_raise_is_theirs(error: type[BaseException]) -> None:
    with pytest.raises(error), library("x", "cannot be read"):
        raise error


VALUES: list[Any] = [True, [], {}, "x", "", -1, 0, 10**30, 0.5, [None], {"a": {}}, {"1": {}}, {"content": 1}, [{}]]
OPTIONS = [
    "model_max_length", "padding_side", "truncation_side", "clean_up_tokenization_spaces", "tokenize_chinese_chars",
    "strip_accents", "do_lower_case", "added_tokens_decoder", "additional_special_tokens", "extra_special_tokens",
    "model_input_names", "tokenizer_class", "mask_token", "unk_token",
]  # fmt: skip


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("option", OPTIONS)
def test_any_value_for_any_option(folder: Path, option: str, compiled: bool) -> None:
    if not compiled:
        (folder / "tokenizer.json").unlink()
    original = (folder / "tokenizer_config.json").read_text()
    refused = []
    for value in VALUES:
        change(folder, "tokenizer_config.json", lambda c, value=value: {**c, option: value})
        try:
            AutoTokenizer.from_pretrained(folder)("the city", "of light")
        except CheckpointError as error:
            refused.append(str(error))
        (folder / "tokenizer_config.json").write_text(original)
    assert refused
    assert all("tokenizer_config.json" in error or "vocab.txt" in error for error in refused)


def test_declared_tokens_are_added_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time, the library looks through all that it has: token by token, 60,000 would take hours."""
    tokens = {str(i): {"content": f"<{i}>", "special": bool(i % 2)} for i in range(1000, 1100)}
    change(folder, "tokenizer_config.json", lambda c: {**c, "added_tokens_decoder": tokens})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    one_by_one = Backend.from_file(str(folder / "tokenizer.json"))
    one_by_one.no_padding()
    for token in tokenizer.backend_tokenizer.get_added_tokens_decoder().values():
        (one_by_one.add_special_tokens if token.special else one_by_one.add_tokens)([token])
    assert tokenizer.backend_tokenizer.to_str() == one_by_one.to_str()
    assert tokenizer.convert_tokens_to_ids("<1000>") == 300

    calls = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return lambda *arguments: calls.append(name) or {}

    more = [{"content": f"<{i}>", "special": i % 2 == 0} for i in range(100)]
    _tokenizer_files._add_tokens(Counting(), [], {}.values(), more)
    assert calls == ["get_added_tokens_decoder", "add_tokens"]
    monkeypatch.setattr(limits, "ADDED_TOKENS", 99)
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: adds 100 tokens; 99 are the most accepted"):
        AutoTokenizer.from_pretrained(folder)


def test_words_with_any_line_ends(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    before = Tokenizer.from_pretrained(folder).get_vocab()
    (folder / "vocab.txt").write_bytes((folder / "vocab.txt").read_bytes().replace(b"\n", b"\r\n"))
    assert Tokenizer.from_pretrained(folder).get_vocab() == before
    (folder / "vocab.txt").write_bytes(b"[PAD]\n\xff\n")
    with pytest.raises(CheckpointError, match=r"vocab\.txt: is not UTF-8 text: invalid start byte at byte 6"):
        Tokenizer.from_pretrained(folder)


def test_settings_go_before_the_file(folder: Path) -> None:
    read = _tokenizer_files.read_tokenizer_files
    change(folder, "tokenizer_config.json", lambda c: {**c, "model_max_length": 512, "padding_side": "left"})
    files = read(folder, {"model_max_length": 20, "pad_token": "[unused1]", "truncation_side": None})
    assert (files.model_max_length, files.padding_side, files.truncation_side) == (20, "left", "right")
    assert files.special_tokens["pad_token"] == "[unused1]"
    with pytest.raises(
        ValueError, match=r"model_max_length = -1, expected a number; padding_side = 'up', expected one"
    ):
        read(folder, {"model_max_length": -1, "padding_side": "up"})
    with pytest.raises(ValueError, match=r"a tokenizer has no setting 'lowercase'; it has model_max_length, padding_"):
        read(folder, {"lowercase": True})
