"""What can be asked of a model besides its results: how many numbers it has, and its word embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np

from minidistil.weights.config import Config
from minidistil.weights.model_weights import TABLES, ModelWeights, Table, whole
from minidistil.weights.narrow import BFloat16Linear, Int8Linear, NarrowTable
from minidistil.weights.precision import Precision, precision_of


class Embedding:
    """The word embeddings of a model, which nothing changes."""

    def __init__(self, table: Table) -> None:
        self._table = table

    @property
    def weight(self) -> np.ndarray:
        """All of them, float32 [V, E], read-only; made when it is asked for where the model has them in fewer bits."""
        weight = whole(self._table).view()
        weight.flags.writeable = False
        return weight

    @property
    def num_embeddings(self) -> int:
        """V, the number of words."""
        return int(self._table.shape[0])

    @property
    def embedding_dim(self) -> int:
        """E, the width of an embedding."""
        return int(self._table.shape[1])

    def __call__(self, input_ids: Any) -> np.ndarray:
        """Return the embeddings float32 [..., E] of ids [...].

        Raises:
            IndexError: an id that there is not.
        """
        ids = np.asarray(input_ids)
        if ids.size and ids.min() < 0:
            raise IndexError(f"ids are numbers from 0 to {self.num_embeddings - 1}, got {int(ids.min())}")
        return np.asarray(self._table[ids])

    def __repr__(self) -> str:
        return f"Embedding({self.num_embeddings}, {self.embedding_dim})"


class About(NamedTuple):
    """What is kept of weights to tell of them.

    Attributes:
        parameters: how many numbers they are, each once, wherever it is used.
        embeddings: how many of them stand in tables of embeddings.
        words: [V, E].
        precision: of the weights.
    """

    parameters: int
    embeddings: int
    words: Table
    precision: Precision


def about(weights: ModelWeights, head: Any) -> About:
    """Count the encoder and a head, or the encoder and its pooler where `head` is None."""
    tables = weights.encoder.embeddings
    every = {id(array): array.size for array in _arrays((weights.encoder, weights.pooler if head is None else head))}
    in_tables = [array.size for name in TABLES if (array := getattr(tables, name)) is not None]
    return About(sum(every.values()), sum(in_tables), tables.word_embeddings, precision_of(weights))


def outline(name: str, config: Config, head: str, facts: About, computed: str) -> str:
    """Return a model's architecture in a few lines, for people."""
    lines = [
        f"{config.model_type}: {config.n_layers} layers, {config.n_heads} heads, {config.dim} wide, feed-forward "
        f"{config.hidden_dim} ({config.activation})",
        f"{config.vocab_size} words, {config.longest_sentence} positions, {config.type_vocab_size} token types",
    ]
    if head:
        labelled = head in ("sequence_classification", "token_classification")
        lines.append(f"head: {head}" + (f" ({', '.join(config.id2label.values())})" if labelled else ""))
    numbers = f"{facts.parameters:,} parameters, {facts.precision} on the CPU"
    lines.append(f"{numbers} ({computed}), from {config.name_or_path!r}")
    return "\n".join([f"{name}(", *(f"  {line}" for line in lines), ")"])


def _arrays(part: Any) -> Iterator[np.ndarray]:
    """Every array of parameters within a part of the weights: what the precision brought with it is none."""
    if isinstance(part, np.ndarray):
        yield part
    elif isinstance(part, (Int8Linear, BFloat16Linear)):
        yield part.codes if isinstance(part, Int8Linear) else part.bits
        yield part.bias
    elif isinstance(part, NarrowTable):
        yield part.codes
    elif isinstance(part, tuple):
        for one in part:
            yield from _arrays(one)
    elif is_dataclass(part) and not isinstance(part, type):
        for field in fields(part):
            yield from _arrays(getattr(part, field.name))
