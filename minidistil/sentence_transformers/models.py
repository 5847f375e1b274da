"""Names that client libraries import from sentence_transformers.models, and use for models that minidistil lacks."""

from __future__ import annotations

from typing import Any


class StaticEmbedding:
    """Embeddings without an encoder, which minidistil does not have."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise ValueError(
            "minidistil stands in for sentence_transformers and has no StaticEmbedding: its models are encoders"
        )


__all__ = ["StaticEmbedding"]
