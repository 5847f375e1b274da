"""What `model[0]`, `model[1]` and so on are: views of a sentence model's parts, by sentence-transformers' names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from minidistil.models.base import Model
    from minidistil.tokenization import Tokenizer


class Whole(Protocol):
    """A sentence model, or a reranker: what a view of its first part takes of it."""

    model: Model[Any]
    max_seq_length: int

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer."""
        ...


class TransformerPart:
    """The encoder of a sentence model, or the model of a reranker."""

    def __init__(self, whole: Whole) -> None:
        self._whole = whole

    @property
    def auto_model(self) -> Model[Any]:
        """The model."""
        return self._whole.model

    model = auto_model

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""
        return self._whole.tokenizer

    processor = tokenizer

    @property
    def max_seq_length(self) -> int:
        """Longer inputs are cut to this many tokens; may be set."""
        return self._whole.max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, value: int | None) -> None:
        self._whole.max_seq_length = value  # type: ignore[assignment]  # None: the model's own

    def get_embedding_dimension(self) -> int:
        """Return D, the width of a token."""
        return self._whole.model.config.dim

    get_word_embedding_dimension = get_embedding_dimension

    def __repr__(self) -> str:
        return f"Transformer({self.auto_model!r})"


@dataclass(frozen=True)
class PoolingPart:
    """The pooling of a sentence model.

    Attributes:
        pooling_mode: its mode, or several, whose vectors stand one after another.
        embedding_dimension: width of the rows that are pooled.
        include_prompt: whether a prompt's tokens are pooled too.
    """

    pooling_mode: str | tuple[str, ...]
    embedding_dimension: int
    include_prompt: bool

    @property
    def pooling_output_dimension(self) -> int:
        """Width of what comes out."""
        return self.embedding_dimension * (1 if isinstance(self.pooling_mode, str) else len(self.pooling_mode))

    def get_embedding_dimension(self) -> int:
        """Return the width of what comes out."""
        return self.pooling_output_dimension

    get_sentence_embedding_dimension = get_embedding_dimension

    def get_pooling_mode_str(self) -> str:
        """Return the modes in one text, with + between them."""
        return self.pooling_mode if isinstance(self.pooling_mode, str) else "+".join(self.pooling_mode)
