"""The weights of a model as immutable, named arrays. Names are the DistilBERT checkpoint's own."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Protocol

import numpy as np

from minidistil.weights.narrow import BFloat16Linear, Int8Linear, NarrowTable


@dataclass(frozen=True)
class Linear:
    """y = x weight^T + bias; weight float32 [N, K], bias float32 [N]."""

    weight: np.ndarray
    bias: np.ndarray


class AnyLinear(Protocol):
    """A product of the encoder or the vocabulary: a `Linear`, `BFloat16Linear` or `Int8Linear` (narrow.py).

    The products of the other heads are always `Linear`.
    """

    @property
    def weight(self) -> np.ndarray:
        """float32 [N, K]."""
        ...

    @property
    def bias(self) -> np.ndarray:
        """float32 [N]."""
        ...


Table = np.ndarray | NarrowTable
"""Embeddings by row: float32, or in fewer bits."""

TABLES = ("word_embeddings", "position_embeddings", "token_type_embeddings")
"""The tables that embeddings have, by their names there; the last may be None."""


def whole(table: Table) -> np.ndarray:
    """A table as float32 [V, E]: itself where it is one."""
    return table if isinstance(table, np.ndarray) else table[:]


@dataclass(frozen=True)
class Norm:
    """LayerNorm: weight float32 [D], bias float32 [D], and the epsilon added to the variance."""

    weight: np.ndarray
    bias: np.ndarray
    eps: float


@dataclass(frozen=True)
class EmbeddingWeights:
    """word_embeddings float32 [V, E], position_embeddings [P, E], token_type_embeddings [Y, E] or None.

    E is D in most families; where the embeddings are narrower (or wider), `projection` [D, E] follows the LayerNorm.
    """

    word_embeddings: Table
    position_embeddings: Table
    token_type_embeddings: Table | None
    layer_norm: Norm
    projection: AnyLinear | None = None


@dataclass(frozen=True)
class LayerWeights:
    """One encoder layer: four D x D products around the attention, D -> F -> D, two LayerNorms."""

    q_lin: AnyLinear
    k_lin: AnyLinear
    v_lin: AnyLinear
    out_lin: AnyLinear
    sa_layer_norm: Norm
    lin1: AnyLinear
    lin2: AnyLinear
    output_layer_norm: Norm


@dataclass(frozen=True)
class NoNorm:
    """What MobileBERT has in the place of a LayerNorm, y = x weight + bias: weight and bias float32 [D]."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class MobileEmbeddingWeights:
    """MobileBERT's: word_embeddings [V, E]; position_embeddings [P, D], token_type_embeddings [Y, D].

    `projection` [D, E], or [D, 3 E] over `trigrams`, comes before the sum; None where words are D wide by themselves.
    """

    word_embeddings: Table
    position_embeddings: Table
    token_type_embeddings: Table
    layer_norm: Norm | NoNorm
    projection: AnyLinear | None
    trigrams: bool


@dataclass(frozen=True)
class Normalized:
    """A product and the norm behind it."""

    linear: AnyLinear
    norm: Norm | NoNorm


@dataclass(frozen=True)
class FeedForwardWeights:
    """I -> F -> I and the norm of its sum with its input."""

    lin1: AnyLinear
    lin2: AnyLinear
    norm: Norm | NoNorm


@dataclass(frozen=True)
class MobileLayerWeights:
    """One layer of MobileBERT: between two bottlenecks an attention and feed-forwards, I wide where the layer is D.

    Without bottlenecks I is D, and all three are None. `attends_to_input`: queries, keys and values are made of what
    leaves input_bottleneck; else values of the layer's input, and queries and keys of what leaves attention_bottleneck,
    or of the layer's input where there is none.
    """

    input_bottleneck: Normalized | None  # [I, D]; what the attention's result is added to
    attention_bottleneck: Normalized | None  # [I, D]
    attends_to_input: bool
    q_lin: AnyLinear  # [I, I]
    k_lin: AnyLinear  # [I, I]
    v_lin: AnyLinear  # [I, D or I]
    out_lin: AnyLinear  # [I, I]
    sa_layer_norm: Norm | NoNorm
    feed_forwards: tuple[FeedForwardWeights, ...]
    output_bottleneck: Normalized | None  # [D, I]


@dataclass(frozen=True)
class EncoderWeights:
    """Embeddings and L layers; where layers share their weights, the same object stands there again."""

    embeddings: EmbeddingWeights | MobileEmbeddingWeights
    layers: tuple[LayerWeights | MobileLayerWeights, ...]


@dataclass(frozen=True)
class MaskedLMWeights:
    """vocab_transform [E, D], activation, LayerNorm, and projection [V, E], usually the word embeddings themselves.

    MobileBERT's transform is [D, D], and its projection has D columns: `extension` float32 [D - E, V] holds those
    beyond the word embeddings', transposed. Its bias is added to the finished product.
    """

    vocab_transform: AnyLinear
    vocab_layer_norm: Norm
    vocab_projector: AnyLinear
    activation: str = "gelu"
    extension: np.ndarray | None = None

    def projection(self, rows: slice = slice(None)) -> np.ndarray:
        """Rows of the whole projection, float32 [rows, E], or [rows, D] where it is extended (then a copy)."""
        words = self.vocab_projector.weight[rows]
        return words if self.extension is None else np.concatenate([words, self.extension[:, rows].T], axis=1)


def is_tied(projector: AnyLinear, words: Table) -> bool:
    """Whether the projection onto the vocabulary is the very table of the words' embeddings."""
    if isinstance(projector, Linear):
        return projector.weight is words
    codes = projector.bits if isinstance(projector, BFloat16Linear) else getattr(projector, "codes", None)
    return isinstance(words, NarrowTable) and codes is words.codes


def projection(words: Table, head: MaskedLMWeights) -> AnyLinear:
    """The projection onto the vocabulary that is a table of embeddings; float32 where it is extended."""
    bias = head.vocab_projector.bias
    if isinstance(words, np.ndarray) or head.extension is not None:
        return Linear(whole(words), bias)
    return BFloat16Linear(words.codes, bias) if words.scale is None else Int8Linear(words.codes, words.scale, bias)


@dataclass(frozen=True)
class ClassifierWeights:
    """A head of two products, output(activation(dense(x))): dense [D, D], output [N, D]; of one where dense is None.

    The activation is "linear" where nothing stands before the last product.
    """

    dense: Linear | None
    activation: str
    output: Linear


@dataclass(frozen=True)
class ModelWeights:
    """Everything read from a checkpoint; heads that were not asked for or are not there are None.

    N labels come out of sequence_classification and token_classification, start and end out of question_answering,
    one number out of multiple_choice and discriminator. The dense of a classifier is BERT's pooler in some families.
    """

    encoder: EncoderWeights
    masked_lm: MaskedLMWeights | None = None
    pooler: Linear | None = None
    sequence_classification: ClassifierWeights | None = None
    multiple_choice: ClassifierWeights | None = None
    discriminator: ClassifierWeights | None = None
    token_classification: Linear | None = None
    question_answering: Linear | None = None


def outline(part: Any, made: dict[int, Any] | None = None) -> Any:
    """Weights without their numbers: what is there, in which shapes, of arrays of zeros that take no memory.

    What stands in several places (layers that share their weights) does so in the outline.
    """
    made = {} if made is None else made
    if id(part) not in made:
        if isinstance(part, np.ndarray):
            made[id(part)] = np.ndarray(part.shape, part.dtype, _ZERO, strides=(0,) * part.ndim)
        elif isinstance(part, tuple):
            made[id(part)] = tuple(outline(one, made) for one in part)
        elif is_dataclass(part) and not isinstance(part, type):
            values = {field.name: outline(getattr(part, field.name), made) for field in fields(part)}
            made[id(part)] = replace(part, **values)
        else:
            return part
    return made[id(part)]


_ZERO = np.zeros(1, np.float32)

# Shapes of the parameters of each module, in numbers of the configuration, or as they are. `{i}` counts layers.
_SQUARE: dict[str, tuple[str, ...]] = {"weight": ("dim", "dim"), "bias": ("dim",)}
_NORM: dict[str, tuple[str, ...]] = {"weight": ("dim",), "bias": ("dim",)}
_EMBEDDING_NORM: dict[str, tuple[str, ...]] = {"weight": ("embedding_size",), "bias": ("embedding_size",)}
_LABELS: dict[str, tuple[str, ...]] = {"weight": ("num_labels", "dim"), "bias": ("num_labels",)}
_ONE: dict[str, tuple[str, ...]] = {"weight": ("1", "dim"), "bias": ("1",)}
PARAMETERS: dict[str, dict[str, tuple[str, ...]]] = {
    "embeddings.word_embeddings": {"weight": ("vocab_size", "embedding_size")},
    "embeddings.position_embeddings": {"weight": ("max_position_embeddings", "embedding_size")},
    "embeddings.token_type_embeddings": {"weight": ("type_vocab_size", "embedding_size")},
    "embeddings.layer_norm": _EMBEDDING_NORM,
    "embeddings.projection": {"weight": ("dim", "embedding_size"), "bias": ("dim",)},
    "layers.{i}.q_lin": _SQUARE,
    "layers.{i}.k_lin": _SQUARE,
    "layers.{i}.v_lin": _SQUARE,
    "layers.{i}.out_lin": _SQUARE,
    "layers.{i}.sa_layer_norm": _NORM,
    "layers.{i}.lin1": {"weight": ("hidden_dim", "dim"), "bias": ("hidden_dim",)},
    "layers.{i}.lin2": {"weight": ("dim", "hidden_dim"), "bias": ("dim",)},
    "layers.{i}.output_layer_norm": _NORM,
    "pooler": _SQUARE,
    "masked_lm.vocab_transform": {"weight": ("embedding_size", "dim"), "bias": ("embedding_size",)},
    "masked_lm.vocab_layer_norm": _EMBEDDING_NORM,
    "masked_lm.vocab_projector": {"weight": ("vocab_size", "embedding_size"), "bias": ("vocab_size",)},
    "sequence_classification.dense": _SQUARE,
    "sequence_classification.output": _LABELS,
    "multiple_choice.dense": _SQUARE,
    "multiple_choice.output": _ONE,
    "discriminator.dense": _SQUARE,
    "discriminator.output": _ONE,
    "token_classification.output": _LABELS,
    "question_answering.output": {"weight": ("2", "dim"), "bias": ("2",)},
}
