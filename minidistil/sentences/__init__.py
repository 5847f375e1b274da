"""Sentence embeddings and rerankers, by the conventions of sentence-transformers."""

from __future__ import annotations

from minidistil._lazy import LazyNames

_names = LazyNames(
    __name__,
    {
        "classifier": ("SentenceClassifier",),
        "comparison": ("similarity", "similarity_pairwise"),
        "cross_encoder": ("CrossEncoder",),
        "encoder": ("SentenceEncoder",),
        "loading": ("load",),
        "pooling": ("normalize", "pool"),
        "quantization": ("calibration_ranges", "quantize_embeddings"),
        "sentence_transformer": ("SentenceTransformer",),
        "streaming": ("Written", "encode_chunks", "encode_to_file"),
    },
)
__all__ = _names.all
__dir__ = _names.dir
__getattr__ = _names.load
