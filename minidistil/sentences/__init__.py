"""Sentence embeddings and rerankers, by the conventions of sentence-transformers; loaded when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from minidistil.kernels.loading import loading

if TYPE_CHECKING:
    from minidistil.sentences.comparison import similarity, similarity_pairwise
    from minidistil.sentences.cross_encoder import CrossEncoder
    from minidistil.sentences.encoder import SentenceEncoder
    from minidistil.sentences.pooling import normalize, pool
    from minidistil.sentences.quantization import calibration_ranges, quantize_embeddings
    from minidistil.sentences.sentence_transformer import SentenceTransformer
    from minidistil.sentences.streaming import Written, encode_chunks, encode_to_file

_HOMES = {
    "CrossEncoder": "cross_encoder",
    "SentenceEncoder": "encoder",
    "SentenceTransformer": "sentence_transformer",
    "Written": "streaming",
    "calibration_ranges": "quantization",
    "encode_chunks": "streaming",
    "encode_to_file": "streaming",
    "normalize": "pooling",
    "pool": "pooling",
    "quantize_embeddings": "quantization",
    "similarity": "comparison",
    "similarity_pairwise": "comparison",
}

__all__ = [
    "CrossEncoder",
    "SentenceEncoder",
    "SentenceTransformer",
    "Written",
    "calibration_ranges",
    "encode_chunks",
    "encode_to_file",
    "normalize",
    "pool",
    "quantize_embeddings",
    "similarity",
    "similarity_pairwise",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with loading():
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
