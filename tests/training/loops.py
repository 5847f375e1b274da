"""Runs of the loop with the small learner, to interrupt and to compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from minidistil.tokenization import Tokenizer
from minidistil.training.data import Data
from minidistil.training.examples import Examples, make_examples
from minidistil.training.folder import RunFolder
from minidistil.training.settings import Settings
from minidistil.training.trainer import Trainer
from minidistil.weights.config import Config
from tests.training.conftest import LABELLED
from tests.training.learner import TableLearner


def examples_of(start: Path, folder: Path, data: Any = LABELLED, task: Any = "sequence_classification") -> Examples:
    source = Data(data, task)
    tokenizer = Tokenizer.from_pretrained(start)
    folder.mkdir(exist_ok=True)
    return make_examples(source, source.survey(), folder / "train.tokens", tokenizer=tokenizer, max_length=16)


def settings(**given: Any) -> Settings:
    usual = {"epochs": 3, "batch_sentences": 2, "learning_rate": 0.1, "checkpoint_seconds": 0.0}
    return Settings.of("sequence_classification", {**usual, **given})


def train(start: Path, folder: Path, learner: TableLearner | None = None, **given: Any) -> TableLearner:
    """Train in a folder, from the beginning or from what is there; 15 steps."""
    learner = learner or TableLearner(400, 2)
    with RunFolder(folder) as run:
        examples = examples_of(start, folder)
        trainer = Trainer(
            learner, examples, settings(**given), config=Config.from_pretrained(start), folder=run,
            circumstances=run.agree({"a": 1}, restart=False), held_out=examples,
        )  # fmt: skip
        trainer.run()
    return learner


def lines(folder: Path) -> list[dict[str, Any]]:
    """The log, without times."""
    found = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in found]


def state(learner: TableLearner) -> bytes:
    p = learner.parameters
    return b"".join(np.asarray(part).tobytes() for part in (p.values, p.first, p.second))
