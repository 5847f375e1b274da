"""Comparing embeddings by the function names of sentence_transformers.util; NumPy arrays come out.

No pair's result depends on how many are compared.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import numpy as np

from minidistil._float_mode import default_mode
from minidistil._loading import loading
from minidistil._options import check_number
from minidistil.sentences.comparison import rows, similarity, similarity_name, similarity_pairwise
from minidistil.sentences.mining import best_of, find_communities, mine_pairs
from minidistil.sentences.pooling import normalize
from minidistil.sentences.quantization import quantize_embeddings

__all__ = [
    "SimilarityFunction",
    "community_detection",
    "cos_sim",
    "dot_score",
    "euclidean_sim",
    "manhattan_sim",
    "normalize_embeddings",
    "pairwise_cos_sim",
    "pairwise_dot_score",
    "pairwise_euclidean_sim",
    "pairwise_manhattan_sim",
    "paraphrase_mining",
    "paraphrase_mining_embeddings",
    "pytorch_cos_sim",
    "quantize_embeddings",
    "semantic_search",
    "truncate_embeddings",
]


class SimilarityFunction(enum.Enum):
    """The functions that compare embeddings, by sentence-transformers' names."""

    COSINE = "cosine"
    DOT_PRODUCT = "dot"
    DOT = "dot"  # noqa: PIE796 (an alias, as there)
    EUCLIDEAN = "euclidean"
    MANHATTAN = "manhattan"

    @staticmethod
    def to_similarity_fn(similarity_function: str | SimilarityFunction) -> Callable[[Any, Any], np.ndarray]:
        """Return what compares [n, D] with [m, D] to float32 [n, m], by a name or a member (ValueError: neither)."""
        return _SIMILARITIES[similarity_name(similarity_function)][0]

    @staticmethod
    def to_similarity_pairwise_fn(similarity_function: str | SimilarityFunction) -> Callable[[Any, Any], np.ndarray]:
        """Return what compares [n, D] with [n, D] to float32 [n], by a name or a member (ValueError: neither)."""
        return _SIMILARITIES[similarity_name(similarity_function)][1]

    @staticmethod
    def possible_values() -> list[str]:
        """Return the names."""
        return [member.value for member in SimilarityFunction]


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


_SIMILARITIES: dict[str, tuple[Callable[[Any, Any], np.ndarray], Callable[[Any, Any], np.ndarray]]] = {
    "cosine": (cos_sim, pairwise_cos_sim),
    "dot": (dot_score, pairwise_dot_score),
    "euclidean": (euclidean_sim, pairwise_euclidean_sim),
    "manhattan": (manhattan_sim, pairwise_manhattan_sim),
}


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
        for ids, scores in best_of(some, corpus, corpus_chunk_size, top_k, score_function):
            found.append([{"corpus_id": i, "score": s} for i, s in zip(ids, scores, strict=True)])
    return found


def truncate_embeddings(embeddings: Any, truncate_dim: int | None) -> np.ndarray:
    """Return the first dimensions of embeddings [n, D], or of one [D]; None for all."""
    check_number("truncate_dim", truncate_dim)
    return np.asarray(embeddings)[..., :truncate_dim]


def paraphrase_mining(
    model: Any,
    sentences: list[str],
    show_progress_bar: bool = False,
    batch_size: int | None = None,
    query_chunk_size: int = 5000,
    corpus_chunk_size: int = 100_000,
    max_pairs: int = 500_000,
    top_k: int = 100,
    score_function: Callable[[Any, Any], np.ndarray] = cos_sim,
    truncate_dim: int | None = None,
    prompt_name: str | None = None,
    prompt: str | None = None,
) -> list[list[float | int]]:
    """Find the most similar pairs among sentences.

    Args:
        model: with an `encode`.
        sentences: str.
        show_progress_bar: `encode`'s.
        batch_size: `encode`'s.
        query_chunk_size: embeddings that are compared at once; memory alone depends on it.
        corpus_chunk_size: embeddings that they are compared with at once; memory alone depends on it.
        max_pairs: the most pairs that are returned.
        top_k: how many others are looked at for each sentence, its most similar ones.
        score_function: makes float32 [n, m] of [n, D] and [m, D]; larger is more similar.
        truncate_dim: `encode`'s.
        prompt_name: `encode`'s.
        prompt: `encode`'s.

    Returns:
        [score, i, j] of each pair, i < j, the most similar first.

    Raises:
        TypeError: something other than text.
        ValueError: a number that is not positive.
    """
    embeddings = model.encode(
        sentences,
        show_progress_bar=show_progress_bar,
        batch_size=batch_size,
        truncate_dim=truncate_dim,
        prompt_name=prompt_name,
        prompt=prompt,
    )
    return mine_pairs(embeddings, query_chunk_size, corpus_chunk_size, max_pairs, top_k, score_function)


def paraphrase_mining_embeddings(
    embeddings: Any,
    query_chunk_size: int = 5000,
    corpus_chunk_size: int = 100_000,
    max_pairs: int = 500_000,
    top_k: int = 100,
    score_function: Callable[[Any, Any], np.ndarray] = cos_sim,
) -> list[list[float | int]]:
    """Find the most similar pairs among embeddings [n, D]; see `paraphrase_mining`."""
    return mine_pairs(embeddings, query_chunk_size, corpus_chunk_size, max_pairs, top_k, score_function)


def community_detection(
    embeddings: Any,
    threshold: float = 0.75,
    min_community_size: int = 10,
    batch_size: int = 1024,
    show_progress_bar: bool = False,
) -> list[list[int]]:
    """Find groups of embeddings whose cosine with a central one is at least `threshold`.

    Args:
        embeddings: numbers [n, D].
        threshold: that cosine.
        min_community_size: the smallest group.
        batch_size: embeddings that are compared with all at once; memory alone depends on it.
        show_progress_bar: without effect.

    Returns:
        The numbers of each group's embeddings, its centre first, then the most similar; the largest group first. No
        embedding is in two of them.

    Raises:
        ValueError: a number that is not positive.
    """
    return find_communities(embeddings, threshold, min_community_size, batch_size, cos_sim)


def _products() -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    """The engine's, or None where it cannot run."""
    with loading():
        from minidistil.backends.engine import EngineUnavailable
        from minidistil.backends.engine.operations import Operations

    operations = Operations()
    try:
        operations.products(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32))
    except EngineUnavailable:
        return None
    return operations.products
