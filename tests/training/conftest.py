"""Small models and data to train."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.synthetic import BERT_SMALL, DISTILBERT_SMALL, write_checkpoint
from tests.synthetic_tokenizer import write_tokenizer

SIZE = {"vocab_size": 400, "max_position_embeddings": 64}
TINY = {**DISTILBERT_SMALL, **SIZE, "n_layers": 1, "n_heads": 2, "dim": 16, "hidden_dim": 32}
TEACHER = {
    **BERT_SMALL, **SIZE, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16,
    "intermediate_size": 32, "architectures": ["BertForMaskedLM"],
}  # fmt: skip
GOOD = ["a good life with love", "happy people in the sun", "great music", "we love this city", "good bread and wine"]
BAD = ["a sad night", "war and hate in the cold rain", "hate it", "no food no light", "the old machine is slow"]
LABELLED = [(text, "good") for text in GOOD] + [(text, "bad") for text in BAD]


def written(folder: Path, config: dict, token_types: bool = False) -> Path:
    folder.mkdir()
    write_checkpoint(folder, config, seed=3)
    write_tokenizer(folder, config["vocab_size"], token_types)
    return folder


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DistilBERT of one layer with a head for masked words."""
    return written(tmp_path_factory.mktemp("start") / "tiny", TINY)


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with a head for masked words, of the same width."""
    return written(tmp_path_factory.mktemp("teacher") / "bert", TEACHER, token_types=True)
