"""A batch of sentences without padding: the one form in which tokens reach a backend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PackedBatch:
    """T tokens of B sentences, one sentence after another, attended tokens only.

    Attributes:
        input_ids: int32 [T], or None where `inputs_embeds` is given.
        position_ids: int32 [T], rows of the position table.
        token_type_ids: int32 [T], or None for all zeros (or for a model that has no token types).
        inputs_embeds: float32 [T, D], in place of the word embeddings, or None.
        offsets: int64 [B + 1]; sentence b is rows offsets[b] to offsets[b + 1], at least one.
        attention_bias: float32 [B, 1 or H, S, S], added to the scaled scores; only for a 4-D attention mask, where
            every sentence has S tokens.
    """

    input_ids: np.ndarray | None
    position_ids: np.ndarray
    token_type_ids: np.ndarray | None
    inputs_embeds: np.ndarray | None
    offsets: np.ndarray
    attention_bias: np.ndarray | None = None

    @property
    def tokens(self) -> int:
        """T, the number of packed tokens."""
        return int(self.offsets[-1])

    @property
    def sentences(self) -> int:
        """B, the number of sentences."""
        return len(self.offsets) - 1
