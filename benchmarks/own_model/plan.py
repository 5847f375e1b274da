"""What the steps take, before they are begun: tokens, operations, minutes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.own_model.data import Data
from benchmarks.own_model.settings import COMPARED, REVIEWS_OF_WORDS, SETTINGS, TEACHER, VOCABULARY
from benchmarks.report import table
from minidistil.tokenization import Tokenizer

D, F = 384, 1536
_SAMPLE = 1000  # texts that are tokenized to know how long they are
_MASKED = 0.15


class Cost(NamedTuple):
    """Of a step: tokens that it reads, and floating point operations."""

    step: str
    tokens: float
    operations: float


def forward(layers: int, length: float) -> float:
    """Operations of a token in the encoder, in sentences of `length` tokens."""
    return layers * (2 * (4 * D * D + 2 * D * F) + 4 * length * D)


def words(pieces: int = VOCABULARY) -> float:
    """Operations of the head for masked words, a token of the text; only what is masked is computed."""
    return _MASKED * 2 * (D * pieces + D * D)


def costs(data: Data) -> list[Cost]:
    """The steps that learn, and the evaluation."""
    tokenizer = Tokenizer.from_pretrained(TEACHER)
    unlabelled, sentiment = data.unlabelled(), data.sentiment()
    found = []
    for name, settings in SETTINGS.items():
        if name in COMPARED:
            continue
        masked = name.endswith("-words")
        texts = unlabelled if masked else [text for text, _ in sentiment]
        count = min(len(texts), REVIEWS_OF_WORDS[name] * data.part) if masked else len(texts)
        length = mean_length(tokenizer, texts, settings["max_length"])
        head = words() if masked else 0.0
        own = 3 * (forward(6 if name.startswith("teacher") else 3, length) + head)
        teacher = forward(6, length) + head if name.startswith("student") else 0.0
        tokens = count * length * settings["epochs"]
        found.append(Cost(name, tokens, tokens * (own + teacher)))
    reviews = [text for text, _ in data.reviews("test")]
    length = mean_length(tokenizer, reviews, 512)
    for name, layers in (("evaluate-package", 3), ("evaluate-student", 3), ("evaluate-teacher", 6)):
        tokens = len(reviews) * length
        found.append(Cost(name, tokens, tokens * forward(layers, length)))
    return found


def mean_length(tokenizer: Tokenizer, texts: Sequence[str], most: int) -> float:
    """Tokens of a text on average, cut to `most`; by the whole vocabulary, so a few per cent too low."""
    sample = texts[:: max(1, len(texts) // _SAMPLE)]
    return sum(len(ids) for ids in tokenizer.encode_limited(sample, most)[0]) / len(sample)


def markdown(found: Sequence[Cost], gflops: float) -> str:
    """The costs as a table, at a rate of GFLOP/s."""
    rows = [
        [cost.step, f"{cost.tokens / 1e6:.2f} M", f"{cost.operations / 1e12:.0f} T", f"{_minutes(cost, gflops):.1f}"]
        for cost in found
    ]
    tokens, operations = (sum(column) for column in list(zip(*found, strict=True))[1:])
    total = Cost("in all", tokens, operations)
    rows.append([total.step, f"{tokens / 1e6:.2f} M", f"{operations / 1e12:.0f} T", f"{_minutes(total, gflops):.1f}"])
    return table(["step", "tokens", "operations", f"minutes at {gflops:g} GFLOP/s"], rows)


def _minutes(cost: Cost, gflops: float) -> float:
    return cost.operations / gflops / 1e9 / 60
