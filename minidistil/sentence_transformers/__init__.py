"""Names of sentence-transformers over minidistil, for code that asks for them by that name.

`minidistil.stand_in()` puts this in the place of `sentence_transformers`, for client libraries that import it
themselves. Some of them look for "sentence_transformers" in the name of a model's class: those of this module have it.
"""

from __future__ import annotations

from typing import NamedTuple

from minidistil import sentences, util
from minidistil.sentence_transformers import models
from minidistil.sentences import quantize_embeddings

__version__ = "6.2.0"  # whose interface it is; client libraries compare it


class ModelCardData(NamedTuple):
    """The hub id and the commit that a model was loaded from, or None for other places."""

    model_name: str | None
    base_model: str | None
    base_model_revision: str | None


class SentenceTransformer(sentences.SentenceTransformer):
    """See `minidistil.SentenceTransformer`."""

    @property
    def model_card_data(self) -> ModelCardData:
        """What client libraries read off a model to name their results."""
        hub = {} if self.source is None else self.source.hub
        name = self.source.name if self.source is not None and "revision" in hub else None
        return ModelCardData(name, name, hub.get("revision"))


class CrossEncoder(sentences.CrossEncoder):
    """See `minidistil.CrossEncoder`."""


__all__ = ["CrossEncoder", "SentenceTransformer", "models", "quantize_embeddings", "util"]
