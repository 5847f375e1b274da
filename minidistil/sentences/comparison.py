"""How similar embeddings are: of every one to every other, or pair by pair."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidistil.sentences.pooling import normalize

SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")


def similarity(a: Any, b: Any, name: str = "cosine") -> np.ndarray:
    """Compare every embedding of one set with every one of another.

    The products of "cosine" and "dot" are NumPy's BLAS's: their last bits may depend on n and m. Those of
    `similarity_pairwise` do not.

    Args:
        a: numbers [n, D] or [D].
        b: numbers [m, D] or [D].
        name: "cosine", "dot", or the negated distances "euclidean" and "manhattan".

    Returns:
        float32 [n, m]; larger is more similar.

    Raises:
        ValueError: an unknown name or widths that differ.
    """
    check_similarity(name)
    x, y = _rows(a), _rows(b)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"embeddings must be [n, D] and [m, D] of the same width, got {x.shape} and {y.shape}")
    if name == "cosine":
        return np.asarray(normalize(x) @ normalize(y).T)
    if name == "dot":
        return np.asarray(x @ y.T)
    distances = np.empty((len(x), len(y)), np.float32)
    for i, row in enumerate(x):  # a row at a time: [n, m, D] would not fit
        distances[i] = _distance(row, y, name)
    return -distances


def similarity_pairwise(a: Any, b: Any, name: str = "cosine") -> np.ndarray:
    """Compare embedding i of one set with embedding i of another; no pair's result depends on the others.

    Args:
        a: numbers [n, D] or [D].
        b: numbers of the same shape.
        name: as for `similarity`.

    Returns:
        float32 [n].

    Raises:
        ValueError: an unknown name or shapes that differ.
    """
    check_similarity(name)
    x, y = _rows(a), _rows(b)
    if x.ndim != 2 or x.shape != y.shape:
        raise ValueError(f"embeddings to compare pair by pair must both be [n, D], got {x.shape} and {y.shape}")
    if name == "cosine":
        x, y = normalize(x), normalize(y)
    if name in ("cosine", "dot"):
        return np.asarray(np.add.reduce(x * y, axis=1))
    return -_distance(x, y, name)


def check_similarity(name: str) -> None:
    """Refuse a name that is not one of `SIMILARITIES` (ValueError)."""
    if name not in SIMILARITIES:
        raise ValueError(f"similarity must be one of {', '.join(SIMILARITIES)}, got {name!r}")


def _rows(embeddings: Any) -> np.ndarray:
    return np.atleast_2d(np.asarray(embeddings, np.float32))


def _distance(x: np.ndarray, y: np.ndarray, name: str) -> np.ndarray:
    difference = y - x
    if name == "euclidean":
        return np.asarray(np.sqrt(np.add.reduce(difference * difference, axis=1)))
    return np.asarray(np.add.reduce(np.abs(difference), axis=1))
