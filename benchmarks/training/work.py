"""What is learned: real reviews and sentences, tokenized and masked once, and the models that learn, the same for all.

Legend: `B` texts, `n` tokens of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.own_model.data import Data
from benchmarks.own_model.settings import LABELS, TEACHER

if TYPE_CHECKING:  # where they are used: other engines' processes open this file too
    from minidistil.backends.learning import Task

MODELS = ("MiniLM 6 x 384", "DistilBERT-base")
EQUAL = 128  # tokens of each text where all have the same number
_MASKED = 0.15
_SEED = 12


class Example(NamedTuple):
    """A text.

    ids: int32 [n], with the masks. rows: int64, the tokens that the head reads. labels: int32, what it should say of
    each.
    """

    ids: np.ndarray
    rows: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Work:
    """Texts that are learned once in a call: a pool, of which engines that pad may sort the texts by length.

    Attributes:
        name: for tables.
        task: what is learned.
        examples: the pool.
        step: texts of a step of the optimizer.
    """

    name: str
    task: Task
    examples: tuple[Example, ...]
    step: int

    @property
    def tokens(self) -> int:
        """Of all texts, without padding."""
        return sum(len(example.ids) for example in self.examples)

    @property
    def lengths(self) -> list[int]:
        """Of the texts, in tokens."""
        return [len(example.ids) for example in self.examples]

    def steps(self, order: Sequence[int] | np.ndarray | None = None) -> list[list[Example]]:
        """The texts of each step, in the order given or as they come."""
        numbers = list(range(len(self.examples)) if order is None else order)
        parts = [numbers[i : i + self.step] for i in range(0, len(numbers), self.step)]
        return [[self.examples[i] for i in part] for part in parts]


def make_work(data: Data, count: int, longest: int) -> list[Work]:
    """What is compared: masked words of mixed lengths, of equal lengths, and the sentiment of reviews.

    Args:
        data: IMDb and SST-2.
        count: texts of a pool of mixed lengths; a step has half of them. The others have half as many, in one step.
        longest: tokens at which a review is cut.
    """
    from minidistil.tokenization import Tokenizer
    from minidistil.training.masking import Vocabulary, mask

    tokenizer = Tokenizer.from_pretrained(TEACHER)
    generator = np.random.default_rng(_SEED)
    reviews, sentences = data.reviews("train"), data.sentences("train")
    half = count // 2

    def ids_of(texts: Sequence[str], limit: int) -> list[np.ndarray]:
        found = tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"]
        return [np.array(ids, np.int32) for ids in found]

    def drawn(items: list[tuple[str, str]], many: int) -> list[tuple[str, str]]:
        return [items[i] for i in generator.choice(len(items), many, replace=False)]

    mixed = ids_of([text for text, _ in drawn(reviews, half) + drawn(sentences, count - half)], longest)
    mixed = [mixed[i] for i in generator.permutation(count)]
    equal = [ids for ids in ids_of([text for text, _ in drawn(reviews, 4 * count)], EQUAL) if len(ids) == EQUAL][:half]
    opinions = drawn(reviews, half)
    vocabulary = Vocabulary.of(tokenizer, len(tokenizer.get_vocab()))

    def masked(ids: np.ndarray, number: int) -> Example:
        changed, rows = mask(ids, vocabulary, _MASKED, _SEED, 1, number)
        return Example(changed, rows, ids[rows])

    first = np.zeros(1, np.int64)
    return [
        Work("masked words, reviews and sentences", "masked_lm", tuple(map(masked, mixed, range(count))), half),
        Work(f"masked words, {EQUAL} tokens each", "masked_lm", tuple(map(masked, equal, range(half))), half),
        Work(
            "sentiment of reviews",
            "sequence_classification",
            tuple(
                Example(ids, first, np.array([LABELS.index(label)], np.int32))
                for ids, (_, label) in zip(ids_of([text for text, _ in opinions], longest), opinions, strict=True)
            ),
            half,
        ),
    ]


def write_model(name: str, task: Task, folder: Path) -> Path:
    """Write a model with a new head, for every engine to begin with; returns its folder."""
    from minidistil.training.student import new_head, new_model
    from minidistil.training.writing import write_checkpoint
    from minidistil.weights import open_checkpoint, read_model
    from minidistil.weights.config import Config
    from tests.synthetic import DISTILBERT_BASE

    path = folder / f"{name.replace(' ', '-')}-{task}"
    labels = () if task == "masked_lm" else LABELS
    if name == MODELS[0]:
        checkpoint = open_checkpoint(TEACHER)
        config = Config.from_dict(checkpoint.config, where=checkpoint.folder)
        made = new_head(config, read_model(checkpoint, heads=()), task, labels)
    else:
        made = new_model(DISTILBERT_BASE, task, labels)
    return write_checkpoint(path, made.config, made.weights)
