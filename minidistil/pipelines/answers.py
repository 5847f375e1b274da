"""What goes into pipelines and comes out of them, by name and type: dictionaries, as in transformers."""

from __future__ import annotations

from typing import TypedDict


class TextPair(TypedDict, total=False):
    """Two texts that a model reads together."""

    text: str
    text_pair: str | None


class QuestionContext(TypedDict):
    """A question, and the text that has its answer."""

    question: str
    context: str


class Label(TypedDict):
    """A label of a text, and how sure it is."""

    label: str
    score: float


class NamedToken(TypedDict):
    """A token, and what it is part of; `start` and `end` count characters of the text."""

    entity: str
    score: float
    index: int
    word: str
    start: int
    end: int


class Entity(TypedDict):
    """Neighbouring tokens that make up one thing; `start` and `end` count characters of the text."""

    entity_group: str
    score: float
    word: str
    start: int
    end: int


class Answer(TypedDict):
    """An answer, `context[start:end]`."""

    score: float
    start: int
    end: int
    answer: str


class RankedLabels(TypedDict):
    """The labels of a text and their scores, best first."""

    sequence: str
    labels: list[str]
    scores: list[float]


class Candidate(TypedDict):
    """What could stand at a mask, and the text with it in place."""

    score: float
    token: int
    token_str: str
    sequence: str
