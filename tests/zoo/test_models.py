"""Models with tokenizers of the zoo: masks filled and pairs scored as transformers does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import minidistil
from tests.zoo.models import FILL_MASK, PAIR, PAIRS, ask, write_model

RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text(encoding="utf-8"))["models"]


@pytest.mark.parametrize("name", FILL_MASK)
def test_fill_mask(name: str, tmp_path: Path) -> None:
    got = ask(minidistil.pipeline, write_model(tmp_path, name, "ForMaskedLM"), "ForMaskedLM")
    want = RECORDED["ForMaskedLM"][name]
    assert [[row[:3] for row in rows] for rows in got] == [[row[:3] for row in rows] for rows in want]
    scores = [row[3] for rows in got for row in rows]
    assert scores == pytest.approx([row[3] for rows in want for row in rows], rel=1e-4)
    assert min(scores) > 0


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name: str, tmp_path: Path) -> None:
    """Whether the second text has token types of its own is for the files to say, not for the model."""
    ending = "ForSequenceClassification"
    folder = write_model(tmp_path, name, ending)
    got = ask(minidistil.pipeline, folder, ending)
    want = RECORDED[ending][name]
    assert [label for label, _ in got] == [label for label, _ in want]
    assert [score for _, score in got] == pytest.approx([score for _, score in want], abs=2e-6)


def test_token_types_change_the_score_of_a_pair(tmp_path: Path) -> None:
    model = minidistil.load(write_model(tmp_path, "only ids", "ForSequenceClassification"), backend="blas")
    pair = model.tokenizer(**PAIR, return_token_type_ids=True, return_tensors="np")
    untyped = {name: array for name, array in pair.items() if name != "token_type_ids"}
    assert np.abs(model(**pair).logits - model(**untyped).logits).max() > 1e-4
    reranker = minidistil.CrossEncoder(tmp_path, backend="blas")
    logits = reranker.predict([list(PAIR.values())], activation_fn="torch.nn.Identity")
    np.testing.assert_allclose(logits[0], model(**untyped).logits[0], atol=2e-5)
