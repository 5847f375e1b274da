"""Small checkpoints of every head of every family, and inputs for them. A family joins by one line here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.synthetic import BERT_SMALL, DISTILBERT_SMALL, write_checkpoint

FAMILIES = {"DistilBert": DISTILBERT_SMALL, "Bert": BERT_SMALL}
TASKS = ("SequenceClassification", "QuestionAnswering", "TokenClassification", "MultipleChoice")
CHOICES = 2
LABELS = 16  # enough for the last product to stay in the order that minidistil keeps (docs/arithmetic.md)


@dataclass(frozen=True)
class Head:
    """A head of a family.

    Attributes:
        family: how transformers' classes of the family begin.
        task: what comes after "For".
    """

    family: str
    task: str

    @property
    def name(self) -> str:
        """The class of transformers and of minidistil."""
        return f"{self.family}For{self.task}"

    def config(self, **changes: object) -> dict:
        """config.json of a small checkpoint with LABELS labels."""
        labels = {"id2label": {str(i): f"label {i}" for i in range(LABELS)}} if "Classification" in self.task else {}
        return {**FAMILIES[self.family], "architectures": [self.name], **labels, **changes}

    def write(self, folder: Path, **changes: object) -> Path:
        """Write a small checkpoint."""
        return write_checkpoint(folder, self.config(**changes), seed=2)

    def inputs(self, sentences: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Full sentences [B, S] (choices [B / CHOICES, CHOICES, S]) with token types where the family has them."""
        generator = np.random.default_rng([seed, sentences, length])
        config = self.config()
        shape = (sentences, length)
        if self.task == "MultipleChoice":
            shape = (sentences // CHOICES, CHOICES, length)
        inputs = {
            "input_ids": generator.integers(3, config["vocab_size"], shape),
            "attention_mask": np.ones(shape, int),
        }
        if config.get("type_vocab_size", 0) > 1:
            inputs["token_type_ids"] = np.sort(generator.integers(0, 2, shape))
        return inputs


HEADS = [Head(family, task) for family in FAMILIES for task in TASKS]
