"""How batches are cut: every sentence once, in order, and threads left alone only where all have enough to do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidistil.backends.engine.passes import MOST_TOKENS, Cut, Limits, cut_in_passes, limits
from tests import build

BASE = {"token_operations": 85e6, "widest": 3072}  # DistilBERT-base
LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=60)


def cut(lengths: list[int], of: Limits, rows: np.ndarray | None = None) -> Cut:
    return cut_in_passes(build.batch([np.arange(n) + 7 * i for i, n in enumerate(lengths)]), rows, of)


def sizes(lengths: list[int], threads: int) -> list[int]:
    """Tokens of passes by single threads, as they are begun; none where all threads take passes together."""
    found = cut(lengths, limits(threads, **BASE))
    return [found.passes[i].batch.tokens for i in found.order] if found.apart else []


@given(LENGTHS, st.integers(1, 5), st.integers(1, 500), st.booleans(), st.data())
def test_every_sentence_is_in_one_pass(
    lengths: list[int], threads: int, tokens: int, apart: bool, data: st.DataObject
) -> None:
    total = sum(lengths)
    rows = None
    if data.draw(st.booleans()) and total:
        rows = np.array(sorted(data.draw(st.sets(st.integers(0, total - 1)))), np.int64)
    found = cut(lengths, build.limits(threads, tokens, apart), rows)
    assert not found.apart or apart
    whole = build.batch([np.arange(n) + 7 * i for i, n in enumerate(lengths)])
    assert sorted(found.order) == list(range(len(found.passes)))
    wanted, results, end = [], 0, 0
    for one in found.passes:
        assert one.tokens.start >= end if rows is not None else one.tokens.start == end
        end = one.tokens.stop
        assert one.results.start == results
        results = one.results.stop
        np.testing.assert_array_equal(one.batch.input_ids, whole.input_ids[one.tokens])
        np.testing.assert_array_equal(one.batch.position_ids, whole.position_ids[one.tokens])
        edges = set((one.batch.offsets + one.tokens.start).tolist())
        assert edges <= set(whole.offsets.tolist()), "a sentence is cut"
        assert found.apart or one.batch.sentences == 1 or one.batch.tokens <= tokens
        if rows is None:
            assert one.rows is None
            assert one.results == one.tokens
        else:
            assert one.rows is not None
            assert len(one.rows) == results - one.results.start > 0
            wanted += (one.rows + one.tokens.start).tolist()
    if rows is None:
        assert end == results == total
    else:
        assert wanted == rows.tolist()


@given(LENGTHS, st.integers(2, 16))
def test_threads_that_are_left_alone_have_the_same_to_do(lengths: list[int], threads: int) -> None:
    found = cut(lengths, limits(threads, **BASE))
    if found.apart:
        busy = [0] * threads
        for i in found.order:
            busy[busy.index(min(busy))] += found.passes[i].batch.tokens
        assert max(busy) * threads <= 1.1 * sum(lengths)
        assert sum(lengths) >= threads * threads * 16


@pytest.mark.parametrize(
    ("lengths", "threads", "expected"),
    [
        ([128] * 8, 2, [256, 256, 128, 128, 128, 128]),
        ([128] * 8, 1, [256, 256, 128, 128, 128, 128]),
        ([8] * 8, 2, [32, 32]),  # as few as pay
        ([8] * 7, 2, []),
        ([128], 2, []),
        ([512] * 3, 2, []),  # one thread would wait for the other
        ([512] * 3, 3, [512] * 3),
        ([20, 300, 20], 2, []),
        ([128] * 32, 8, [256] * 8 + [128] * 16),
        ([16] * 1500, 32, [752] * 28 + [736] * 4),  # longer, as all fetch all weights
        ([8] * 8, 8, []),
    ],
)
def test_who_takes_a_pass(lengths: list[int], threads: int, expected: list[int]) -> None:
    assert sizes(lengths, threads) == expected


def test_no_pass_of_a_huge_model_is_long() -> None:
    found = limits(4, 1e9, 8192)
    assert found.together == 48
    assert found.alone == 48
    assert limits(1, 1e6, 16) == Limits(1, MOST_TOKENS, MOST_TOKENS, 1)
