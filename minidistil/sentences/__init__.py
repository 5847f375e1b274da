"""Sentence embeddings and rerankers, by the conventions of sentence-transformers."""

from minidistil.sentences.encoder import SentenceEncoder
from minidistil.sentences.pooling import normalize, pool
from minidistil.sentences.quantization import calibration_ranges, quantize_embeddings
from minidistil.sentences.similarity import similarity, similarity_pairwise

__all__ = [
    "SentenceEncoder",
    "calibration_ranges",
    "normalize",
    "pool",
    "quantize_embeddings",
    "similarity",
    "similarity_pairwise",
]
