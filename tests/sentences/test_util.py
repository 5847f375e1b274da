"""The functions of sentence_transformers.util: values, order, chunks, company."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil import util
from tests.bits import assert_same_bits

A, B = (np.random.default_rng(seed).standard_normal((n, 9), np.float32) for seed, n in ((0, 4), (1, 40)))
DIFFERENCE = A[:, None].astype(np.float64) - B
LENGTHS = np.outer(np.linalg.norm(A, axis=1), np.linalg.norm(B, axis=1))


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("cos_sim", A @ B.T / LENGTHS),
        ("pytorch_cos_sim", A @ B.T / LENGTHS),
        ("dot_score", A @ B.T),
        ("euclidean_sim", -np.sqrt((DIFFERENCE**2).sum(-1))),
        ("manhattan_sim", -np.abs(DIFFERENCE).sum(-1)),
    ],
)
def test_values_and_company(name: str, want: np.ndarray) -> None:
    compare = getattr(util, name)
    got = compare(A, B)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(compare(A.tolist(), B.tolist()), want, rtol=1e-5, atol=1e-6)
    assert_same_bits(compare(A[1], B[7])[0, 0], got[1, 7])
    assert_same_bits(compare(A[1:3], B[5:9]), np.ascontiguousarray(got[1:3, 5:9]))
    if name != "pytorch_cos_sim":
        pairs = getattr(util, f"pairwise_{name}")(A, B[:4])
        np.testing.assert_allclose(pairs, np.diag(want), rtol=1e-5, atol=1e-6)


def test_normalize_embeddings() -> None:
    np.testing.assert_allclose(np.linalg.norm(util.normalize_embeddings(A), axis=1), 1, rtol=1e-6)


@given(
    st.integers(1, 6), st.integers(0, 30), st.integers(1, 12), st.integers(1, 7), st.integers(1, 40), st.integers(0, 99)
)
@settings(max_examples=60, deadline=None)
def test_semantic_search_whatever_the_chunks(
    n: int, m: int, top_k: int, query_chunk: int, chunk: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    queries, corpus = generator.integers(-1, 2, (n, 3)), generator.integers(-1, 2, (m, 3))  # many equal scores
    scores = util.dot_score(queries, corpus)
    want = [
        [{"corpus_id": i, "score": row[i]} for i in sorted(range(m), key=lambda i: -row[i])[:top_k]] for row in scores
    ]
    options = {"query_chunk_size": query_chunk, "corpus_chunk_size": chunk, "score_function": util.dot_score}
    assert util.semantic_search(queries, corpus, top_k=top_k, **options) == want


def test_semantic_search_by_cosine_and_for_one_query() -> None:
    (found,) = util.semantic_search(A[2], B)
    cosines = util.cos_sim(A[2], B)[0]
    assert [row["corpus_id"] for row in found] == np.argsort(-cosines)[:10].tolist()
    assert all(type(row["corpus_id"]) is int and type(row["score"]) is float for row in found)


@pytest.mark.parametrize("name", ["top_k", "query_chunk_size", "corpus_chunk_size"])
def test_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        util.semantic_search(A, B, **{name: 0})
    with pytest.raises(ValueError, match="of the same width"):
        util.cos_sim(A, B[:, :4])
