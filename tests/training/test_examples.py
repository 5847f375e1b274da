"""Texts become tokens once; the file is whole, of these data, or made anew."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidistil.tokenization import Tokenizer
from minidistil.training import examples as module
from minidistil.training.data import Data
from minidistil.training.examples import Examples, make_examples
from tests.training.conftest import BAD, GOOD, LABELLED


def made(
    start: Path, folder: Path, data: Any, task: Any = "masked_lm", *, max_length: int = 64, pieces: bool = False
) -> Examples:
    source = Data(data, task)
    tokenizer = Tokenizer.from_pretrained(start)
    return make_examples(
        source, source.survey(), folder / "a.tokens", tokenizer=tokenizer, max_length=max_length, pieces=pieces
    )


def sentences(examples: Examples) -> list[list[int]]:
    return [examples.sentence(i).tolist() for i in range(len(examples))]


def test_tokens_are_the_tokenizers(start: Path, tmp_path: Path) -> None:
    examples = made(start, tmp_path, LABELLED, "sequence_classification")
    assert sentences(examples) == Tokenizer.from_pretrained(start)(GOOD + BAD)["input_ids"]
    assert examples.labels is not None
    assert examples.labels.tolist() == [1] * 5 + [0] * 5
    assert examples.label_names == ("bad", "good")
    assert not examples.ids.flags.writeable
    assert [p.name for p in tmp_path.iterdir()] == ["a.tokens"]


def test_long_texts_are_cut_or_made_pieces_of(start: Path, tmp_path: Path) -> None:
    texts = ["the of and to in a is that for it", "good", "the of and to in a is that"]
    tokenizer = Tokenizer.from_pretrained(start)
    cut = made(start, tmp_path, texts, max_length=6)
    assert sentences(cut) == tokenizer(texts, truncation=True, max_length=6)["input_ids"]
    assert (cut.truncated, cut.empty) == (2, 0)
    pieces = made(start, tmp_path, texts, max_length=6, pieces=True)
    whole = tokenizer(texts, truncation=True, max_length=6, return_overflowing_tokens=True)
    assert sentences(pieces) == whole["input_ids"]
    assert len(pieces) == 6
    assert pieces.truncated == 0


def test_texts_without_words_are_left_out(start: Path, tmp_path: Path) -> None:
    examples = made(start, tmp_path, ["good", "", "  ", "sad night"])
    assert (len(examples), examples.empty) == (2, 2)
    with pytest.raises(ValueError, match="data: the tokenizer finds no words in it"):
        made(start, tmp_path, ["", " "])
    assert [p.name for p in tmp_path.iterdir()] == ["a.tokens"]


def test_a_words_label_stands_at_its_first_token(start: Path, tmp_path: Path) -> None:
    data = [(["good", "xqz", "city"], ["O", "X", "O"])]
    examples = made(start, tmp_path, data, "token_classification")
    tokens = Tokenizer.from_pretrained(start).convert_ids_to_tokens(examples.sentence(0).tolist())
    assert tokens == ["[CLS]", "good", "x", "##q", "##z", "city", "[SEP]"]
    assert examples.labels is not None
    assert examples.labels.tolist() == [-1, 0, 1, -1, -1, 0, -1]


def test_what_is_there_is_taken_and_what_is_another_is_not(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(start, tmp_path, GOOD)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", None)
        assert made(start, tmp_path, list(GOOD)).digest == first.digest
        for other in ({"data": BAD}, {"data": GOOD, "max_length": 5}, {"data": GOOD, "max_length": 64, "pieces": True}):
            with pytest.raises(TypeError):
                made(start, tmp_path, **other)  # type: ignore[arg-type]
    assert sentences(Examples.open(tmp_path / "a.tokens")) == sentences(first)


def test_a_damaged_file_is_found_and_made_anew(start: Path, tmp_path: Path) -> None:
    good, path = sentences(made(start, tmp_path, GOOD)), tmp_path / "a.tokens"
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        path.unlink()  # it may be mapped
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        with pytest.raises(ValueError, match=r"is damaged|is no file of tokens"):
            Examples.open(path)
    for end in (0, 10, len(content) // 2, len(content) - 1):
        path.unlink()
        path.write_bytes(content[:end])
        with pytest.raises(ValueError, match=r"is damaged|is no file of tokens"):
            Examples.open(path)
    assert sentences(made(start, tmp_path, GOOD)) == good
    assert path.read_bytes() == content


def test_a_full_disk_leaves_nothing_half_written(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        made(start, tmp_path, GOOD)
    assert not list(tmp_path.iterdir())


def test_many_texts_are_read_in_parts(start: Path, tmp_path: Path) -> None:
    texts = [f"{GOOD[i % 5]} {i}" for i in range(700)]
    examples = made(start, tmp_path, texts)
    assert sentences(examples) == Tokenizer.from_pretrained(start)(texts)["input_ids"]
    assert examples.ids.dtype == np.int32
