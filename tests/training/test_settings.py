"""Settings: what is impossible is refused by name, and what the result follows from is known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from minidistil.training.settings import Settings
from minidistil.weights.config import Config


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 0}, "epochs must be positive, got 0"),
        ({"epochs": 1.5}, "epochs must be a whole number, got float"),
        ({"batch_sentences": -1}, "batch_sentences must be positive"),
        ({"learning_rate": -1e-5}, "learning_rate must be 0 or more, got -1e-05"),
        ({"learning_rate": math.nan}, "learning_rate must be 0 or more, got nan"),
        ({"learning_rate": "fast"}, "learning_rate must be a number, got str"),
        ({"warmup": 1.5}, "warmup must be from 0 to 1, got 1.5"),
        ({"hidden_dropout": 1.0}, "hidden_dropout must be from 0 to below 1, got 1.0"),
        ({"beta2": True}, "beta2 must be a number, got bool"),
        ({"temperature": 0}, "temperature must be positive"),
        ({"largest_norm": 0.0}, "largest_norm must be positive; None clips nothing"),
        ({"seed": -1}, "seed must be from 0"),
        ({"seed": "x"}, "seed must be a whole number, got str"),
        ({"hard": 0.0}, "hard, soft and cosine are all 0: there is nothing to learn"),
        ({"pieces": True}, "pieces=True is for masked_lm"),
        ({"rate": 1}, "there is no setting 'rate'; there are epochs, learning_rate"),
    ],
)
def test_impossible_settings(given: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        Settings.of("sequence_classification", given)
    assert message in str(caught.value)


def test_an_unknown_task() -> None:
    with pytest.raises(
        ValueError, match="task must be one of masked_lm, sequence_classification, token_classification"
    ):
        Settings("translation")  # type: ignore[arg-type]


def test_json_and_back_and_what_counts() -> None:
    made = Settings.of("masked_lm", {"epochs": 2, "largest_norm": None, "seed": 2**63}, {"pieces": True, "epochs": 9})
    assert (made.epochs, made.pieces, made.largest_norm) == (2, True, None)
    assert Settings(**json.loads(json.dumps(made.to_dict()))) == made
    same = Settings(**{**made.to_dict(), "checkpoint_seconds": 1.0})
    assert same.circumstances() == made.circumstances()
    assert set(made.to_dict()) - set(made.circumstances()) == {"checkpoint_seconds"}
    assert Settings.of("masked_lm", {"epochs": None}).epochs == 3


def test_dropout_is_the_models_where_nobody_says_otherwise(start: Path, teacher: Path) -> None:
    own = Settings("masked_lm").resolved(Config.from_pretrained(start))
    assert own.chances == (0.1, 0.1, 0.1, 0)
    raw = Config.from_pretrained(start).raw
    other = Config.from_dict({**raw, "dropout": 0.3, "attention_dropout": 0.0, "seq_classif_dropout": 0.2})
    assert Settings("masked_lm", seed=5).resolved(other).chances == (0.3, 0.0, 0.2, 5)
    assert Settings("masked_lm", head_dropout=0.0).resolved(other).chances == (0.3, 0.0, 0.0, 0)
    raw = Config.from_pretrained(teacher).raw
    bert = Config.from_dict({**raw, "hidden_dropout_prob": 0.2, "classifier_dropout": None})
    assert Settings("masked_lm").resolved(bert).chances == (0.2, 0.1, 0.2, 0)
