"""A model in the place of the package's own: as small as a test wants it, made of random numbers, never shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

import minidistil
from minidistil.tokenization import Tokenizer
from minidistil.training.student import new_model
from minidistil.training.writing import write_checkpoint
from tests.synthetic import DISTILBERT_SMALL
from tests.synthetic_tokenizer import write_tokenizer

LABELS = ("negative", "positive")


def put_in_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have `package:minidistil` mean a folder with a model in float16 below it; returns the model's folder."""
    monkeypatch.setattr(minidistil.__spec__, "submodule_search_locations", [str(folder)])
    tokenizer = Tokenizer.from_pretrained(write_tokenizer(_made(folder / "tokenizer"), 400, token_types=False))
    model = new_model({**DISTILBERT_SMALL, "vocab_size": 400}, "sequence_classification", LABELS, seed=1)
    return write_checkpoint(folder / "sentiment", *model, tokenizer, element_type="F16")


def take_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `package:minidistil` mean a folder without a model."""
    monkeypatch.setattr(minidistil.__spec__, "submodule_search_locations", [str(folder)])


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
