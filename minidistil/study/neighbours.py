"""One word in several sentences: how its vectors part or meet, layer by layer.

A word's vector is the mean of those of its pieces. The map is made of each layer's two principal components, whose
share of the variance belongs beside it: with few sentences two components show most of anything.

Legend: `S` sentences, `L` layers, `D` width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minidistil._float_mode import default_mode
from minidistil.models.base import Model
from minidistil.study.parts import Neighbours
from minidistil.study.sums import cosine, principal, total
from minidistil.study.tracing import encode, model_of, pack

if TYPE_CHECKING:
    from tokenizers import Encoding

MOST = 24  # sentences

_Place = tuple[int, int]


@default_mode()
def neighbours(model: Any, sentences: Sequence[str], word: str | None = None, longest: int | None = None) -> Neighbours:
    """Follow a word through the layers of a model in several sentences.

    Args:
        model: any model of minidistil's, or what stands on one.
        sentences: each with the word in it, two or more.
        word: as it is written, or None for the longest word that stands in all of them; upper and lower case alike.
        longest: most tokens of a sentence, or None for what the model takes.

    Raises:
        TypeError: what is no sentence.
        ValueError: fewer than two sentences, more than `MOST`, or a word that one of them does not have.
    """
    model = model_of(model)
    if isinstance(sentences, str) or not 2 <= len(sentences) <= MOST:
        raise ValueError(f"a word is compared in 2 to {MOST} sentences, its own text among them; got {len(sentences)}")
    encodings = [encode(model, sentence, longest=longest) for sentence in sentences]
    words = [_words(sentence, encoding) for sentence, encoding in zip(sentences, encodings, strict=True)]
    shared = set.intersection(*(set(own) for own in words))
    if word is None and not shared:
        raise ValueError("these sentences have no word in common")
    sought = max(sorted(shared), key=len) if word is None else word.casefold()
    if missing := [i for i, own in enumerate(words) if sought not in own]:
        raise ValueError(f"the word {sought!r} is not in sentence {missing[0]}: {sentences[missing[0]]!r}")
    spans = [own[sought] for own in words]
    vectors = _vectors(model, encodings, [pieces for pieces, _ in spans])  # [L + 1, S, D]
    maps = [principal(layer) for layer in vectors]
    return Neighbours(
        sought,
        tuple(sentences),
        tuple(place for _, place in spans),
        np.stack([cosine(layer[:, None], layer[None]) for layer in vectors]).astype(np.float32),
        np.stack([points for points, _ in maps]).astype(np.float32),
        np.stack([explained for _, explained in maps]).astype(np.float32),
    )


def _words(sentence: str, encoding: Encoding) -> dict[str, tuple[list[int], _Place]]:
    """The words of a sentence, folded: of each the first time its pieces, and its characters from and to."""
    pieces: dict[int, list[int]] = {}
    for i, number in enumerate(encoding.word_ids):
        if number is not None:
            pieces.setdefault(number, []).append(i)
    found: dict[str, tuple[list[int], _Place]] = {}
    for own in pieces.values():
        start, end = encoding.offsets[own[0]][0], encoding.offsets[own[-1]][1]
        text = sentence[start:end]
        start += len(text) - len(text.lstrip())  # some tokenizers count the space before a word as the word's
        if any(c.isalnum() for c in text):
            found.setdefault(text.strip().casefold(), (own, (start, end)))
    return found


def _vectors(model: Model[Any], encodings: list[Encoding], pieces: list[list[int]]) -> np.ndarray:
    """The word's vector in each sentence, after each layer: float32 [L + 1, S, D]."""
    batch = pack(model, *encodings)
    states = model._backend.encode(batch, hidden_states=True).hidden_states or ()
    rows = [[int(batch.offsets[b]) + i for i in own] for b, own in enumerate(pieces)]
    means = [[total(state[own].T) / len(own) for own in rows] for state in states]
    return np.array(means).astype(np.float32)
