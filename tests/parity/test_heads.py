"""Every head of every family against transformers, stage by stage, on batches that hypothesis draws.

Bit for bit where PyTorch's sums do not look at how many rows there are, elsewhere within 2e-6 of the largest value
(tests/goldens/heads.py).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import minidistil
from minidistil.backends.reference import exact
from minidistil.models.base import Model
from minidistil.weights import Linear
from tests.bits import assert_same_bits
from tests.goldens import heads
from tests.heads import CHOICES, FEW_LABELS, HEADS, ONE_PRODUCT, REAL_WIDTHS, SUMMARIES, Head

pytestmark = pytest.mark.parity


@functools.cache
def _model(head: Head, folder: Path, threads: int) -> Model[Any]:
    return minidistil.load(head.write(folder / head.key), threads=threads)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("heads")


@pytest.mark.parametrize("head", HEADS + FEW_LABELS + ONE_PRODUCT + SUMMARIES + REAL_WIDTHS, ids=lambda head: head.key)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**32 - 1), st.sampled_from([1, 2]))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_stage(
    request: pytest.FixtureRequest,
    torch_heads: Any,
    folder: Path,
    head: Head,
    sentences: int,
    sixteens: int,
    seed: int,
    threads: int,
) -> None:
    if head.family == "Albert" or "tanh" in (head.products or ()):
        request.getfixturevalue("torch_tanh")
    if head.task == "MultipleChoice":
        sentences *= CHOICES
    arrays = head.inputs(sentences, 16 * sixteens, seed)
    mask = arrays["attention_mask"].reshape(sentences, -1)
    for b, n in enumerate(np.random.default_rng(seed).integers(1, 16 * sixteens + 1, sentences)):
        mask[b, n:] = 0
    want = torch_heads.head_stages(head, arrays)
    heads.assert_stages(head, heads.stages(_model(head, folder, threads), arrays), want, arrays["attention_mask"])


seeds = st.integers(0, 2**32 - 1)
terms = st.one_of(st.integers(1, 900), st.sampled_from([312, 384, 768, 1024, 3072]))
live = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _product(seed: int, m: int, k: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return tuple(generator.standard_normal(shape, dtype=np.float32) for shape in ((m, k), (n, k), n))  # type: ignore


@given(st.integers(9, 70), terms, st.integers(2, 11), seeds)
@live
def test_products_of_few_columns(torch_heads: Any, m: int, k: int, n: int, seed: int) -> None:
    x, w, b = _product(seed, m, k, n)
    assert_same_bits(exact.narrow(x, Linear(w, b)), torch_heads.linear(x, w, b))


@given(st.integers(1, 40), terms, seeds)
@live
def test_products_of_one_column(torch_heads: Any, fours: int, k: int, seed: int) -> None:
    """PyTorch takes rows four at a time: a multiple of sixteen tokens always goes up in fours."""
    x, w, b = _product(seed, 4 * fours, k, 1)
    assert_same_bits(exact.narrow(x, Linear(w, b)), torch_heads.linear(x, w, b))


@given(st.integers(1, 11), terms, st.sampled_from([1, 12, 16, 30, 384]), seeds)
@live
def test_rows_that_pytorch_sums_otherwise(torch_heads: Any, m: int, k: int, n: int, seed: int) -> None:
    """What docs/arithmetic.md says of one to three rows, and of rows beyond the fours of one column."""
    x, w, b = _product(seed, m, k, n)
    want = torch_heads.linear(x, w, b)
    got = (exact.narrow if n == 1 else exact.linear)(x, Linear(w, b))
    assert (np.abs(got - want) <= 2e-7 * (np.abs(x) @ np.abs(w.T) + np.abs(b))).all()
    if n == 1:
        fours = m // 4 * 4
        assert_same_bits(got[:fours], want[:fours])
    elif m == 1:  # the product of a matrix with one vector, as for one column
        fours = n // 4 * 4
        columns = [exact.narrow(x, Linear(w[j : j + 1], b[j : j + 1])) for j in range(fours)]
        assert_same_bits(np.concatenate(columns, axis=1), want[:, :fours])
    elif m < 4:  # dot products, as for few columns
        assert_same_bits(exact.narrow(x, Linear(w, b)), want)
    else:
        assert_same_bits(got, want)
