"""Small models of every family and head, with a tokenizer, for the study room."""

from __future__ import annotations

from pathlib import Path

import pytest

import minidistil
from minidistil.weights import open_checkpoint, read_model
from minidistil.weights.writing import write_quantized
from tests.heads import FAMILIES, HEADS, Head
from tests.narrow import narrow
from tests.synthetic import write_checkpoint
from tests.synthetic_tokenizer import write_tokenizer

TEXT = "Paris is the capital of [MASK]."
KEPT = "whole-number product with kept columns"
MASKED_LM = [Head(family, "MaskedLM") for family in FAMILIES]


def class_name(key: Head | str) -> str:
    """The class that loads a small model: of a head, or of a family's encoder alone."""
    return key.name if isinstance(key, Head) else f"{key}Model"


KINDS: list[Head | str] = [*MASKED_LM, *HEADS, *FAMILIES]


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory):
    """A function: a small checkpoint with its tokenizer, written once, by head or family."""
    made: dict[str, Path] = {}

    def folder(key: Head | str) -> Path:
        name = class_name(key)
        if name not in made:
            values = key.config() if isinstance(key, Head) else {**FAMILIES[key], "architectures": [name]}
            values = {**values, "vocab_size": 400}
            made[name] = write_checkpoint(tmp_path_factory.mktemp(name), values, seed=2)
            write_tokenizer(made[name], 400, values.get("type_vocab_size", 0) > 1)
        return made[name]

    return folder


@pytest.fixture(scope="session")
def folder_of_kept(folder_of, tmp_path_factory):
    """A function: the same checkpoint in int8, with columns of some products kept in float32."""
    made: dict[str, Path] = {}

    def folder(key: Head | str) -> Path:
        name = class_name(key)
        if name not in made:
            checkpoint = open_checkpoint(folder_of(key))
            files = {path.name: path.read_bytes() for path in folder_of(key).iterdir() if "token" in path.name}
            weights = narrow(read_model(checkpoint), "int8", columns=9)
            made[name] = write_quantized(tmp_path_factory.mktemp(name), checkpoint.config, weights, files)
        return made[name]

    return folder


@pytest.fixture(scope="session")
def load(folder_of, folder_of_kept):
    """A function: a small model by head or family, and by backend; in int8 with columns kept where `kept` says so."""

    def loaded(key: Head | str, kept: bool = False, **options):
        folder = folder_of_kept(key) if kept else folder_of(key)
        return getattr(minidistil, class_name(key)).from_pretrained(folder, **options)

    return loaded
