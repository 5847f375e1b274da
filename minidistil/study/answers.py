"""The model's answer in a few numbers that can be followed, whichever head there is.

Legend: `n` tokens, `D` width, `V` vocabulary, `N` labels, `A` numbers of the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidistil.models import heads
from minidistil.models.base import Model
from minidistil.sentences.pooling import pool
from minidistil.study.parts import Answer
from minidistil.study.sums import cosine, sigmoid, softmax
from minidistil.study.tracing import Trace

FOLLOWED = 5  # numbers of an answer at most
_ALL = 1 << 30


class Unfollowed(ValueError):
    """An answer that is not made of numbers that could be followed; the message says why."""


class Following:
    """What is followed of the answer to one text.

    Attributes:
        answer: its numbers before anything is changed.
        first: the word or class, of those of which one holds, whose probability is the first of them; else None.
    """

    first: int | None = None

    def __init__(self, trace: Trace, encoder: Any = None) -> None:
        self.trace, self.model = trace, trace.model
        self._encoder = encoder
        kind = self.model.heads[0] if self.model.heads else "embedding"
        hidden = trace[trace.last]
        self._focus = focus_of(trace) if kind in ("masked_lm", "token_classification", "discriminator") else None
        self._measure, told, sentence, labels = _KINDS[kind](self, hidden)
        self.answer = Answer(told, sentence, labels, self.values(hidden), self._focus)

    def values(self, hidden: np.ndarray, removed: int | None = None) -> np.ndarray:
        """The answer's numbers float32 [A] for last hidden states float32 [n, D], of the text without one token."""
        return np.asarray(self._measure(hidden, _ALL if removed is None else removed), np.float32)

    def place(self, token: int, removed: int) -> int:
        """Where a token of the text stands once another is removed."""
        return token - (removed < token)

    # By head: what measures, the kind, a sentence about it, and the numbers' labels.

    def _masked_lm(self, hidden: np.ndarray) -> _Kind:
        focus, model = self._focus or 0, self.model
        words = best(softmax(model._backend.masked_lm(hidden[focus : focus + 1])))[0, :FOLLOWED]

        def measure(hidden: np.ndarray, removed: int) -> np.ndarray:
            at = self.place(focus, removed)
            return softmax(model._backend.masked_lm(hidden[at : at + 1]))[0, words]

        labels = tuple(model.tokenizer.convert_ids_to_tokens(words.tolist()))
        self.first = int(words[0])
        said = (
            f"the probabilities of the {len(labels)} best words at token {focus} ({self.trace.encoding.tokens[focus]})"
        )
        return measure, "word", said, labels

    def _classes(self, hidden: np.ndarray) -> _Kind:
        order = best(class_scores(self.model, hidden))[0, :FOLLOWED]
        labels = tuple(self.model.config.id2label[int(i)] for i in order)
        self.first = int(order[0]) if is_one_of_many(self.model) else None
        kind = "the score" if is_regression(self.model) else "the probability"
        return (lambda h, _: class_scores(self.model, h)[0, order]), "class", f"{kind} of each class", labels

    def _token_classes(self, hidden: np.ndarray) -> _Kind:
        focus = self._focus or 0
        order = best(token_scores(self.model, hidden)[focus : focus + 1])[0, :FOLLOWED]
        labels = tuple(self.model.config.id2label[int(i)] for i in order)
        self.first = int(order[0])
        said = f"the probabilities of the best classes of token {focus} ({self.trace.encoding.tokens[focus]})"

        def measure(hidden: np.ndarray, removed: int) -> np.ndarray:
            return token_scores(self.model, hidden)[self.place(focus, removed), order]

        return measure, "token class", said, labels

    def _span(self, hidden: np.ndarray) -> _Kind:
        ends = [int(i) for i in span_scores(self.model, hidden).argmax(axis=0)]
        tokens = self.trace.encoding.tokens

        def measure(hidden: np.ndarray, removed: int) -> list[float]:
            scores = span_scores(self.model, hidden)
            return [0.0 if e == removed else float(scores[self.place(e, removed), i]) for i, e in enumerate(ends)]

        labels = (f"begins at {tokens[ends[0]]}", f"ends at {tokens[ends[1]]}")
        said = f"the probability that the answer begins at token {ends[0]}, and that it ends at token {ends[1]}"
        return measure, "span", said, labels

    def _replaced(self, hidden: np.ndarray) -> _Kind:
        focus = self._focus or 0
        said = f"the probability that token {focus} ({self.trace.encoding.tokens[focus]}) was put in place of another"

        def measure(hidden: np.ndarray, removed: int) -> np.ndarray:
            at = self.place(focus, removed)
            return replaced_scores(self.model, hidden)[at : at + 1]

        return measure, "replaced", said, ("replaced",)

    def _choice(self, hidden: np.ndarray) -> _Kind:
        model = self.model
        said = "the choice's score, which means something beside those of other choices"
        return (lambda h, _: heads.classify(model._backend, h[:1], model._head)[0]), "choice", said, ("score",)

    def _embedding(self, hidden: np.ndarray) -> _Kind:
        own = sentence_embedding(self.model, hidden, self._encoder)
        said = "the cosine of the sentence's embedding to what it is when nothing is changed"

        def measure(hidden: np.ndarray, removed: int) -> np.ndarray:
            return cosine(sentence_embedding(self.model, hidden, self._encoder), own)[None]

        return measure, "embedding", said, ("cosine",)


_Measure = Callable[[np.ndarray, int], Any]
_Kind = tuple[_Measure, str, str, tuple[str, ...]]
_KINDS: dict[str, Callable[[Following, np.ndarray], _Kind]] = {
    "masked_lm": Following._masked_lm,
    "sequence_classification": Following._classes,
    "token_classification": Following._token_classes,
    "question_answering": Following._span,
    "discriminator": Following._replaced,
    "multiple_choice": Following._choice,
    "embedding": Following._embedding,
}


def best(scores: np.ndarray) -> np.ndarray:
    """Indices of float32 [R, N], best first, of equals the smaller first: int64 [R, N]."""
    return np.argsort(-scores, axis=1, kind="stable")


def is_regression(model: Model[Any]) -> bool:
    """Whether a classifier's logits are its answer."""
    return model.config.problem_type == "regression"


def is_one_of_many(model: Model[Any]) -> bool:
    """Whether one of a classifier's classes holds, so that their probabilities are one together."""
    return not is_regression(model) and (
        model.config.problem_type != "multi_label_classification" and len(model.config.id2label) > 1
    )


def class_scores(model: Model[Any], hidden: np.ndarray) -> np.ndarray:
    """Scores float32 [1, N] of the classes of a text, of its hidden states float32 [n, D]."""
    logits = heads.classify(model._backend, hidden[:1], model._head)
    if is_regression(model):
        return logits
    return softmax(logits) if is_one_of_many(model) else sigmoid(logits)


def token_scores(model: Model[Any], hidden: np.ndarray) -> np.ndarray:
    """Probabilities float32 [n, N] of each token's classes."""
    return softmax(model._backend.linear(hidden, model._head))


def span_scores(model: Model[Any], hidden: np.ndarray) -> np.ndarray:
    """Probabilities float32 [n, 2] of each token to begin, and to end, the answer."""
    logits = model._backend.linear(hidden, model._head)
    return np.ascontiguousarray(softmax(np.ascontiguousarray(logits.T)).T)


def replaced_scores(model: Model[Any], hidden: np.ndarray) -> np.ndarray:
    """Probabilities float32 [n] that each token was put in place of another."""
    return sigmoid(heads.classify(model._backend, hidden, model._head)[:, 0])


def sentence_embedding(model: Model[Any], hidden: np.ndarray, encoder: Any = None) -> np.ndarray:
    """The embedding float32 [N] that a sentence encoder makes of last hidden states float32 [n, D].

    Raises:
        Unfollowed: one that mixes all layers.
    """
    encoder = model.sentence_encoder if encoder is None else encoder
    modules, backend = encoder._modules, model._backend
    if modules.layers is not None:
        raise Unfollowed("this sentence encoder mixes all layers, so its embedding is not that of one of them")
    for module in modules.tokens:
        hidden = module(hidden, backend)
    pooled = pool(hidden, np.array([0, len(hidden)]), encoder._files.pooling)
    for module in modules.sentences:
        pooled = module(pooled, backend)
    return np.asarray(pooled[0], np.float32)


def focus_of(trace: Trace) -> int:
    """The token whose answer is followed: the first mask, or else the first that is not special."""
    ids, special = trace.encoding.ids, trace.encoding.special_tokens_mask
    mask = trace.model.tokenizer.mask_token_id
    if mask is not None and mask in ids and trace.head == "masked_lm":
        return ids.index(mask)
    return next((i for i, own in enumerate(special) if not own), 0)
