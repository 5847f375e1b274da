"""Sentence embeddings and rerankers, by the conventions of sentence-transformers."""

from minidistil.sentences.encoder import SentenceEncoder, normalize, pool, similarity

__all__ = ["SentenceEncoder", "normalize", "pool", "similarity"]
