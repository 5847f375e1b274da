"""Pairs and groups among many embeddings, by the functions of sentence_transformers.util.

Everything is compared with everything, a block at a time; no result depends on the size of a block. What is equally
similar comes in the order in which it was given.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np

from minidistil._float_mode import default_mode
from minidistil._options import check_number
from minidistil.sentences.comparison import rows

Score = Callable[[Any, Any], np.ndarray]


@default_mode()
def mine_pairs(
    embeddings: Any, query_chunk_size: int, corpus_chunk_size: int, max_pairs: int, top_k: int, score: Score
) -> list[list[float | int]]:
    """Find the most similar pairs among embeddings.

    Args:
        embeddings: numbers [n, D].
        query_chunk_size: embeddings that are compared at once; memory alone depends on it.
        corpus_chunk_size: embeddings that they are compared with at once; memory alone depends on it.
        max_pairs: the most pairs that are returned.
        top_k: how many others are looked at for each embedding, its most similar ones.
        score: makes float32 [n, m] of [n, D] and [m, D]; larger is more similar.

    Returns:
        [score, i, j] of each pair, i < j, the most similar first.
    """
    for name, value in (
        ("query_chunk_size", query_chunk_size),
        ("corpus_chunk_size", corpus_chunk_size),
        ("max_pairs", max_pairs),
        ("top_k", top_k),
    ):
        check_number(name, value)
    vectors = rows(embeddings, None)
    pairs: list[tuple[float, int, int]] = []  # a heap, the least similar first; the later of equals goes first
    held: set[tuple[int, int]] = set()
    for start in range(0, len(vectors), query_chunk_size):
        some = vectors[start : start + query_chunk_size]
        for i, (ids, scores) in enumerate(best_of(some, vectors, corpus_chunk_size, top_k + 1, score), start):
            others = [(j, value) for j, value in zip(ids, scores, strict=True) if j != i]
            for j, value in others[:top_k]:
                pair = (min(i, j), max(i, j))
                if pair in held:
                    continue
                held.add(pair)
                heapq.heappush(pairs, (value, -pair[0], -pair[1]))
                if len(pairs) > max_pairs:
                    _, a, b = heapq.heappop(pairs)
                    held.discard((-a, -b))
    return [[value, -i, -j] for value, i, j in sorted(pairs, reverse=True)]


def best_of(queries: np.ndarray, corpus: np.ndarray, chunk: int, most: int, score: Score) -> list[tuple[Any, Any]]:
    """Ids and scores, as lists, of what is most similar in [m, D] to each of [n, D], best first, then first."""
    ids, scores = np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), np.float32)
    for first in range(0, len(corpus), chunk):
        own = np.asarray(score(queries, corpus[first : first + chunk]), np.float32)
        places = np.broadcast_to(np.arange(first, first + own.shape[1]), own.shape)
        ids, scores = _best(np.hstack([ids, places]), np.hstack([scores, own]), most)
    return list(zip(ids.tolist(), scores.tolist(), strict=True))


@default_mode()
def find_communities(embeddings: Any, threshold: float, least: int, block: int, score: Score) -> list[list[int]]:
    """Find groups of embeddings that are similar to a central one.

    Args:
        embeddings: numbers [n, D].
        threshold: how similar to the centre all of a group are, at least.
        least: the smallest group.
        block: embeddings that are compared with all at once; memory alone depends on it.
        score: makes float32 [n, m] of [n, D] and [m, D].

    Returns:
        The numbers of each group's embeddings, its centre first, then the most similar; the largest group first. No
        embedding is in two of them.
    """
    vectors = rows(embeddings, None)
    check_number("min_community_size", least)
    check_number("batch_size", block)
    if len(vectors) < least:
        return []
    found: list[tuple[int, np.ndarray]] = []  # a centre, and what is near it, nearest first
    for start in range(0, len(vectors), block):
        scores = np.asarray(score(vectors[start : start + block], vectors), np.float32)
        near = scores >= np.float32(threshold)
        for i in np.flatnonzero(near.sum(axis=1) >= least).tolist():
            places = np.flatnonzero(near[i])
            found.append((start + i, places[np.argsort(-scores[i, places], kind="stable")]))
    found.sort(key=lambda one: len(one[1]), reverse=True)
    taken, communities = np.zeros(len(vectors), bool), list[list[int]]()
    for centre, places in found:
        free = places[~taken[places]]
        if not taken[centre] and len(free) >= least:
            communities.append([centre, *free[free != centre].tolist()])
            taken[communities[-1]] = True
    return sorted(communities, key=len, reverse=True)


def _best(ids: np.ndarray, scores: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The best of each row's scores, best first; of equal ones the first."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :most]
    return np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)
