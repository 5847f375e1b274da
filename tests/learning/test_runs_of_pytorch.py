"""Whole runs of the trainer on the engine beside runs of PyTorch: the losses of fifty steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidistil.backends.choose import create_learner
from minidistil.backends.learning import Chances, Learner, Losses, Targets, Task
from minidistil.tokenization import Tokenizer
from minidistil.training.examples import Examples
from minidistil.training.folder import RunFolder
from minidistil.training.settings import Settings
from minidistil.training.trainer import Trainer
from minidistil.weights.config import Config
from tests.training import models

pytestmark = pytest.mark.parity

STEPS, SENTENCES = 50, 8  # ten steps an epoch, of 80 examples
TOLERANCE = 1e-5  # of each loss, absolute; losses are from 0.2 to 7, and differed by 1e-6 where this was written
# The highest learning rate, and the largest norm of gradients: some steps are clipped, and some are not.
RATES: dict[Task, tuple[float, float]] = {"masked_lm": (3e-3, 2.0), "sequence_classification": (1e-3, 4.0)}
WARMUP, DECAY = 0.2, 0.1
CASES: dict[str, Task] = {
    f"{family}For{ending}": task
    for family in ("DistilBert", "Bert")
    for ending, task in (("MaskedLM", "masked_lm"), ("SequenceClassification", "sequence_classification"))
}  # type: ignore[assignment]


class Recording:
    """A learner, and all the micro-batches that it was given, by step."""

    def __init__(self, learner: Learner) -> None:
        self._learner, self.parameters = learner, learner.parameters
        self.steps: dict[int, list[tuple[Any, Targets]]] = {}
        self.update, self.predict, self.changed, self.needs = (
            *(learner.update, learner.predict, learner.changed, learner.needs),
        )

    def accumulate(self, batch: Any, targets: Targets, step: int, first_row: int) -> Losses:
        self.steps.setdefault(step, []).append((batch, targets))
        return self._learner.accumulate(batch, targets, step, first_row)

    def sentences(self, step: int, task: Task) -> list[tuple[np.ndarray, np.ndarray]]:
        """What transformers takes: ids, and a label for each token (-100 for none), or for all of it."""
        found = []
        for batch, targets in self.steps[step]:
            labels = np.full(batch.tokens, -100, np.int64)
            labels[targets.rows] = targets.labels
            for first, end in zip(batch.offsets[:-1], batch.offsets[1:], strict=True):
                said = labels[first : first + 1] if task == "sequence_classification" else labels[first:end]
                found.append((batch.input_ids[first:end].astype(np.int64), said))
        return found


def examples(task: Task, words: np.ndarray) -> Examples:
    """Sentences in which each word follows from the one before; half of the labels follow from the first word."""
    generator = np.random.default_rng(5)
    sentences, labels = [], []
    for length in generator.integers(1, 29, SENTENCES * 10).tolist():
        first = int(generator.integers(0, 12))
        chain = words[(first + 5 * np.arange(length)) % 12]
        sentences.append(np.array([2, *chain, 3], np.int32))  # [CLS] ... [SEP]
        labels.append((first if generator.random() < 0.5 else int(generator.integers(0, 3))) % len(models.LABELS))
    offsets = np.concatenate([[0], np.cumsum([len(s) for s in sentences])])
    labelled = task != "masked_lm"
    return Examples(
        np.concatenate(sentences), offsets, np.array(labels, np.int32) if labelled else None,
        models.LABELS if labelled else (),
    )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_losses_are_those_of_pytorch(torch_reference: Any, name: str, tmp_path: Path) -> None:
    """Decay groups, warm-up, clipping, micro-batches; no dropout, whose masks are another generator's in PyTorch."""
    task = CASES[name]
    highest, clip = RATES[task]
    start = models.write(tmp_path / "start", name, seed=4)
    config, weights = models.read(start)
    tokenizer = Tokenizer.from_pretrained(start)
    settings = Settings(
        task, epochs=5, batch_sentences=SENTENCES, learning_rate=highest, warmup=WARMUP, decay=DECAY,
        largest_norm=clip, micro_tokens=70, hidden_dropout=0.0, attention_dropout=0.0, head_dropout=0.0,
    )  # fmt: skip
    learner = Recording(create_learner("engine", config, weights, task, Chances(), threads=2))
    words = np.arange(200, 212, dtype=np.int32)
    _train(learner, examples(task, words), settings, config, tokenizer, tmp_path / "run")
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    ours = {key: np.array([line[key] for line in log if "loss" in line]) for key in ("loss", "norm")}

    assert len(learner.steps) == STEPS
    assert any(len(parts) > 1 for parts in learner.steps.values()), "no step has micro-batches"
    steps = [learner.sentences(step, task) for step in range(1, STEPS + 1)]
    asked = {"learning_rate": highest, "warmup": round(WARMUP * STEPS), "decay": DECAY, "largest_norm": clip}
    asked |= {"betas": (0.9, 0.999), "eps": 1e-6}
    theirs = torch_reference.training(models.config_of(name), 4, steps, asked)
    want = {key: np.array(found) for key, found in theirs.items()}

    assert 0.2 < want["loss"].min() < 0.8 * want["loss"][0] < 7, "PyTorch's run learns nothing that could be compared"
    clipped = want["norm"] > clip
    assert 0 < clipped.sum() < STEPS, "clipping is not tried both ways"
    apart = np.abs(ours["loss"] - want["loss"])
    assert apart.max() <= TOLERANCE, f"step {apart.argmax() + 1}: {apart.max():.1e}"
    np.testing.assert_allclose(ours["norm"], want["norm"], rtol=1e-3)


def _train(
    learner: Recording, data: Examples, settings: Settings, config: Config, tokenizer: Tokenizer, folder: Path
) -> None:
    with RunFolder(folder) as run:
        trainer = Trainer(
            learner, data, settings, config=config, folder=run, circumstances=run.agree({}, restart=False),
            tokenizer=tokenizer,
        )  # fmt: skip
        trainer.run()
