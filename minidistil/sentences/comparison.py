"""How similar embeddings are: of every one to every other, or pair by pair."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import numpy as np

from minidistil._float_mode import default_mode
from minidistil._options import is_one_of
from minidistil.sentences.pooling import normalize

SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
_BLOCK = 4096  # embeddings that all others are compared with at once: few megabytes beside those that are given
Products = Callable[[np.ndarray, np.ndarray], np.ndarray]


@default_mode()
def similarity(a: Any, b: Any, name: str = "cosine", products: Products | None = None) -> np.ndarray:
    """Compare every embedding of one set with every one of another; no pair's result depends on the others.

    Args:
        a: numbers [n, D] or [D].
        b: numbers [m, D] or [D].
        name: "cosine", "dot", or the negated distances "euclidean" and "manhattan".
        products: makes float32 [n, m] of float32 [n, D] and [m, D], the dot products of all pairs: a backend's is
            quick. Unset, those of `similarity_pairwise`.

    Returns:
        float32 [n, m]; larger is more similar.

    Raises:
        ValueError: an unknown name or widths that differ.
    """
    check_similarity(name)
    x, y = rows(a), rows(b)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"embeddings must be [n, D] and [m, D] of the same width, got {x.shape} and {y.shape}")
    if name == "cosine":
        x = normalize(x)
    compared = np.empty((len(x), len(y)), np.float32)
    for start in range(0, len(y), _BLOCK):
        some = y[start : start + _BLOCK]
        some, own = normalize(some) if name == "cosine" else some, compared[:, start : start + _BLOCK]
        if name in ("cosine", "dot") and products is not None and len(x):
            own[:] = products(x, some)
            continue
        for i, row in enumerate(x):
            own[i] = _compare(row, some, name)
    return compared


@default_mode()
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
    x, y = rows(a), rows(b)
    if x.ndim != 2 or x.shape != y.shape:
        raise ValueError(f"embeddings to compare pair by pair must both be [n, D], got {x.shape} and {y.shape}")
    if name == "cosine":
        x, y = normalize(x), normalize(y)
    return _compare(x, y, name)


def similarity_name(name: str | enum.Enum) -> str:
    """The name of a function, given so or as a `util.SimilarityFunction` (ValueError: there is no such function)."""
    check_similarity(given := name.value if isinstance(name, enum.Enum) else name)
    return given


def check_similarity(name: str) -> None:
    """Refuse a name that is not one of `SIMILARITIES` (ValueError)."""
    if not is_one_of(name, SIMILARITIES):
        raise ValueError(f"similarity must be one of {', '.join(SIMILARITIES)}, got {name!r}")


def rows(embeddings: Any, dtype: Any = np.float32) -> np.ndarray:
    """Embeddings [n, D], or one [D], as an array [n, D] of a type (None: their own).

    Raises:
        TypeError: no numbers, or lists of different lengths.
    """
    try:
        array = np.asarray(embeddings, dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(f"embeddings must be arrays of numbers, [n, D] or [D]: {error}") from None
    return np.atleast_2d(array) if array.size else array.reshape(0, array.shape[-1] if array.ndim == 2 else 0)


def _compare(x: np.ndarray, y: np.ndarray, name: str) -> np.ndarray:
    """Rows of x [n, D], or a single [D], with those of y [n, D], of length 1 already where `name` is cosine: [n]."""
    if name in ("cosine", "dot"):
        return np.asarray(np.add.reduce(x * y, axis=1))
    difference = y - x
    if name == "euclidean":
        return np.asarray(-np.sqrt(np.add.reduce(difference * difference, axis=1)))
    return np.asarray(-np.add.reduce(np.abs(difference), axis=1))
