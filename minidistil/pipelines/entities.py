"""From scores of tokens to entities: pure functions over what the model and the tokenizer say of a text.

The rules, and the order of every sum, are those of transformers' token-classification pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

STRATEGIES = ("none", "simple", "first", "average", "max")

Join = Callable[[list[str]], str]
"""Makes text of tokens: ["sub", "##word"] to "subword"."""


@dataclass(frozen=True)
class Token:
    """A token of the text (special tokens are none).

    Attributes:
        word: as it stands in the vocabulary; an unknown one as it stands in the text.
        scores: float32 [N], probability of each label.
        start: first character in the text.
        end: character after the last one.
        index: place among the text's tokens, special ones included.
        is_subword: whether it continues the word before it.
    """

    word: str
    scores: np.ndarray
    start: int
    end: int
    index: int
    is_subword: bool


def find_entities(
    tokens: Sequence[Token], strategy: str, labels: Mapping[int, str], join: Join, ignored: Sequence[str]
) -> list[dict[str, Any]]:
    """Name the tokens of a text, or the groups of neighbours that belong together.

    Args:
        tokens: in the order of the text.
        strategy: one of STRATEGIES: every token by itself; grouped token by token; or words agreed first, by their
            first token, by the mean of its tokens' scores, or by the token with the highest score.
        labels: label by number.
        join: makes a word of tokens.
        ignored: labels to leave out, with their prefix for "none" and without for the others.

    Returns:
        {"entity", "score", "index", "word", "start", "end"} for "none", else {"entity_group", "score", "word", "start",
        "end"}, in the order of the text.
    """
    if strategy in ("none", "simple"):
        named = [_name(token, labels) for token in tokens]
    else:
        named = [_agree(word, strategy, labels, join) for word in _words(tokens)]
    if strategy != "none":
        named = _group(named, join)
    kind = "entity" if strategy == "none" else "entity_group"
    return [entity for entity in named if entity[kind] not in ignored]


def merge_windows(entities: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of entities that overlap, found in overlapping windows of a text, keep the longest, or of equals the surest."""
    merged: list[dict[str, Any]] = []
    for entity in sorted(entities, key=lambda e: e["start"]):
        if not merged or not merged[-1]["start"] <= entity["start"] < merged[-1]["end"]:
            merged.append(entity)
            continue
        length, kept = entity["end"] - entity["start"], merged[-1]["end"] - merged[-1]["start"]
        if length > kept or (length == kept and entity["score"] > merged[-1]["score"]):
            merged[-1] = entity
    return merged


def _name(token: Token, labels: Mapping[int, str]) -> dict[str, Any]:
    best = int(token.scores.argmax())
    return {
        "entity": labels[best],
        "score": float(token.scores[best]),
        "index": token.index,
        "word": token.word,
        "start": token.start,
        "end": token.end,
    }


def _words(tokens: Sequence[Token]) -> list[list[Token]]:
    words: list[list[Token]] = []
    for token in tokens:
        if token.is_subword and words:
            words[-1].append(token)
        else:
            words.append([token])
    return words


def _agree(word: list[Token], strategy: str, labels: Mapping[int, str], join: Join) -> dict[str, Any]:
    """One label for the tokens of a word."""
    if strategy == "first":
        scores = word[0].scores
    elif strategy == "max":
        scores = max(word, key=lambda token: token.scores.max()).scores
    else:
        scores = np.stack([token.scores for token in word]).mean(axis=0)
    best = int(scores.argmax())
    return {
        "entity": labels[best],
        "score": float(scores[best]),
        "word": join([token.word for token in word]),
        "start": word[0].start,
        "end": word[-1].end,
    }


def _group(named: Sequence[dict[str, Any]], join: Join) -> list[dict[str, Any]]:
    """Join neighbours of the same kind, unless the second one begins an entity."""
    groups: list[list[dict[str, Any]]] = []
    for entity in named:
        begins, kind = _parse(entity["entity"])
        if groups and not begins and kind == _parse(groups[-1][-1]["entity"])[1]:
            groups[-1].append(entity)
        else:
            groups.append([entity])
    return [
        {
            "entity_group": group[0]["entity"].split("-", 1)[-1],
            "score": float(np.array([entity["score"] for entity in group], np.float32).mean()),
            "word": join([entity["word"] for entity in group]),
            "start": group[0]["start"],
            "end": group[-1]["end"],
        }
        for group in groups
    ]


def _parse(label: str) -> tuple[bool, str]:
    """Whether a label begins an entity, and the entity's kind; a label without B- or I- continues."""
    return label.startswith("B-"), label[2:] if label.startswith(("B-", "I-")) else label
