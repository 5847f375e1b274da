"""Comparing embeddings by the function names of sentence_transformers.util; NumPy arrays come out.

No pair's result depends on how many are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidistil._float_mode import default_mode
from minidistil._loading import loading
from minidistil._options import check_number
from minidistil.sentences.comparison import rows, similarity, similarity_pairwise
from minidistil.sentences.pooling import normalize
from minidistil.sentences.quantization import quantize_embeddings

__all__ = [
    "cos_sim",
    "dot_score",
    "euclidean_sim",
    "manhattan_sim",
    "normalize_embeddings",
    "pairwise_cos_sim",
    "pairwise_dot_score",
    "pairwise_euclidean_sim",
    "pairwise_manhattan_sim",
    "pytorch_cos_sim",
    "quantize_embeddings",
    "semantic_search",
]


def cos_sim(a: Any, b: Any) -> np.ndarray:
    """Return the cosines float32 [n, m] of embeddings [n, D] and [m, D]; a single [D] counts as [1, D]."""
    return similarity(a, b, "cosine", _products())


pytorch_cos_sim = cos_sim


def dot_score(a: Any, b: Any) -> np.ndarray:
    """Return the dot products float32 [n, m] of embeddings [n, D] and [m, D]."""
    return similarity(a, b, "dot", _products())


def euclidean_sim(a: Any, b: Any) -> np.ndarray:
    """Return the negated euclidean distances float32 [n, m] of embeddings [n, D] and [m, D]."""
    return similarity(a, b, "euclidean")


def manhattan_sim(a: Any, b: Any) -> np.ndarray:
    """Return the negated manhattan distances float32 [n, m] of embeddings [n, D] and [m, D]."""
    return similarity(a, b, "manhattan")


def pairwise_cos_sim(a: Any, b: Any) -> np.ndarray:
    """Return the cosine float32 [n] of each embedding of [n, D] with its counterpart in [n, D]."""
    return similarity_pairwise(a, b, "cosine")


def pairwise_dot_score(a: Any, b: Any) -> np.ndarray:
    """Return the dot product float32 [n] of each embedding of [n, D] with its counterpart in [n, D]."""
    return similarity_pairwise(a, b, "dot")


def pairwise_euclidean_sim(a: Any, b: Any) -> np.ndarray:
    """Return the negated euclidean distance float32 [n] of each embedding of [n, D] and its counterpart in [n, D]."""
    return similarity_pairwise(a, b, "euclidean")


def pairwise_manhattan_sim(a: Any, b: Any) -> np.ndarray:
    """Return the negated manhattan distance float32 [n] of each embedding of [n, D] and its counterpart in [n, D]."""
    return similarity_pairwise(a, b, "manhattan")


@default_mode()
def normalize_embeddings(embeddings: Any) -> np.ndarray:
    """Return embeddings [n, D] scaled to length 1, float32."""
    return normalize(np.asarray(embeddings, np.float32))


@default_mode()
def semantic_search(
    query_embeddings: Any,
    corpus_embeddings: Any,
    query_chunk_size: int = 100,
    corpus_chunk_size: int = 500_000,
    top_k: int = 10,
    score_function: Callable[[Any, Any], np.ndarray] = cos_sim,
) -> list[list[dict[str, int | float]]]:
    """Find the embeddings of a corpus that are most similar to each query.

    Args:
        query_embeddings: numbers [n, D], or [D] for one query.
        corpus_embeddings: numbers [m, D].
        query_chunk_size: queries that are compared at once; memory alone depends on it.
        corpus_chunk_size: embeddings of the corpus that they are compared with at once; memory alone depends on it.
        top_k: results for a query, at most.
        score_function: makes float32 [n, m] of [n, D] and [m, D]; larger is more similar.

    Returns:
        For each query a list of {"corpus_id", "score"}, best first; of equal scores the earlier first.

    Raises:
        ValueError: widths that differ, or a number that is not positive.
    """
    for name, value in (("query_chunk_size", query_chunk_size), ("corpus_chunk_size", corpus_chunk_size)):
        check_number(name, value)
    check_number("top_k", top_k)
    queries, corpus = rows(query_embeddings, None), rows(corpus_embeddings, None)
    found: list[list[dict[str, int | float]]] = []
    for start in range(0, len(queries), query_chunk_size):
        some = queries[start : start + query_chunk_size]
        ids, scores = np.zeros((len(some), 0), np.int64), np.zeros((len(some), 0), np.float32)
        for first in range(0, len(corpus), corpus_chunk_size):
            own = np.asarray(score_function(some, corpus[first : first + corpus_chunk_size]), np.float32)
            places = np.broadcast_to(np.arange(first, first + own.shape[1]), own.shape)
            ids, scores = _best(np.hstack([ids, places]), np.hstack([scores, own]), top_k)
        for row, values in zip(ids.tolist(), scores.tolist(), strict=True):
            found.append([{"corpus_id": i, "score": s} for i, s in zip(row, values, strict=True)])
    return found


def _best(ids: np.ndarray, scores: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The best of each row's scores, best first; of equal ones the first."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :most]
    return np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)


def _products() -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    """The engine's, or None where it cannot run."""
    with loading():
        from minidistil.engine import EngineUnavailable
        from minidistil.engine.operations import Operations

    operations = Operations()
    try:
        operations.products(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32))
    except EngineUnavailable:
        return None
    return operations.products
