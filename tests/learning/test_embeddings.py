"""Gradients of embedding tables: rows added in the order of tokens, whichever thread has which."""

from __future__ import annotations

import numpy as np
import pytest

from minidistil.backends.reference.learning import embeddings
from minidistil.kernels.layout import address
from minidistil.kernels.steps.table import Matrix
from minidistil.kernels.steps.take import take
from minidistil.kernels.steps.training.scatter_rows import ScatterRows, grouped
from tests.bits import assert_same_bits
from tests.kernels.values import awkward, normal, with_non_finite


def scatter_rows(table: np.ndarray, ids: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What the kernel makes of a table, float32 [V, D]."""
    out, (order, starts, distinct) = table.copy(), grouped(ids)
    lists = (address(order), address(starts), address(distinct), len(distinct))
    take(ScatterRows(Matrix(address(x), x.strides[0] // 4), *lists, x.shape[1], address(out)), entry="train")
    return out


def check(table: np.ndarray, ids: np.ndarray, x: np.ndarray) -> np.ndarray:
    want = table.copy()
    embeddings.scatter_rows(want, ids, x)
    got = scatter_rows(table, ids, x)
    assert_same_bits(got, want)
    return got


@pytest.mark.parametrize("n", [*range(1, 35), 768])
def test_rows_of_every_width(n: int) -> None:
    ids = np.array([3, 0, 3, 6, 3, 0, 3, 3])
    got = check(normal(1, 7, n), ids, normal(2, 8, n + 5)[:, :n])
    assert (got[[1, 2, 4, 5]] == normal(1, 7, n)[[1, 2, 4, 5]]).all()
    assert (got[[0, 3, 6]] != normal(1, 7, n)[[0, 3, 6]]).any(axis=1).all()


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_tokens_is_the_order_of_additions(seed: int) -> None:
    """Values of every magnitude: another order has other bits, as the last line makes sure."""
    generator = np.random.default_rng(seed)
    ids, x, table = generator.integers(0, 20, 300), awkward(seed, 300, 19), awkward(seed + 1, 20, 19)
    got = check(table, ids, x)
    check(table, ids, with_non_finite(x, seed))
    assert (got != scatter_rows(table, ids[::-1], np.ascontiguousarray(x[::-1]))).any()


def test_all_tokens_of_one_type_and_none_at_all() -> None:
    check(np.zeros((2, 33), np.float32), np.zeros(100, np.int64), normal(3, 100, 33))
    table = normal(4, 3, 16)
    assert (check(table, np.zeros(0, np.int64), np.zeros((0, 16), np.float32)) == table).all()


def test_what_grouped_says() -> None:
    order, starts, ids = grouped(np.array([5, 2, 5, 9, 2, 5]))
    assert [order.tolist(), starts.tolist(), ids.tolist()] == [[1, 4, 0, 2, 5, 3], [0, 2, 5, 6], [2, 5, 9]]
    assert {a.dtype for a in (order, starts, ids)} == {np.dtype(np.int32)}
