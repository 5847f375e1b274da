"""What `encode` and `predict` take and give, for type checkers and editors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from minidistil._keywords import EncodeKeywords, PredictKeywords

if TYPE_CHECKING:
    import numpy as np


class SentenceValues(TypedDict):
    """All there is of a sentence, with `output_value=None`: int64 [n], int64 [n], float32 [n, D] and float32 [D]."""

    input_ids: np.ndarray
    attention_mask: np.ndarray
    token_embeddings: np.ndarray
    sentence_embedding: np.ndarray


class EncodeOptions(EncodeKeywords, total=False):
    """The options of `encode`, but for `output_value` and the embeddings' `precision`, which decide of the type."""

    convert_to_numpy: Literal[True]
    convert_to_tensor: Literal[False]
    device: Any
    normalize_embeddings: bool
    truncate_dim: int | None
    ranges: Any
    truncation: str | bool
    first_index: int


class PredictOptions(PredictKeywords, total=False):
    """The options of `predict`."""

    activation_fn: str | Callable[[np.ndarray], np.ndarray] | None
    apply_softmax: bool | None
    convert_to_numpy: Literal[True]
    convert_to_tensor: Literal[False]
    truncation: str | bool


class _Ranked(TypedDict):
    corpus_id: int
    score: float


class RankedDocument(_Ranked, total=False):
    """A document's place among those that were given, its score, and its text where it was asked for."""

    text: str
