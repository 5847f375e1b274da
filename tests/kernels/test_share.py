"""Blocks of rows for many threads: whole, even where that pays, and for one thread as they are best."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidistil.kernels import layout
from minidistil.kernels.steps.share import even_block, next_rows
from minidistil.kernels.steps.team import Member


def rounds(rows: int, block: int, others: int, threads: int) -> int:
    """How many tasks, one after another, the thread has that has most."""
    tasks = (rows + block - 1) // block * others
    return (tasks + threads - 1) // threads


@given(
    st.integers(1, 3000), st.integers(1, 40), st.sampled_from([4, 7, 8, 24]), st.integers(1, 700), st.integers(1, 200)
)
def test_blocks_are_whole_steps_and_cost_no_more(rows: int, steps: int, step: int, others: int, threads: int) -> None:
    whole = steps * step
    block = even_block(rows, whole, step, others, threads)
    assert 0 < block <= whole
    assert block % step == 0
    if block != whole:
        assert block >= 32
        before, after = rounds(rows, whole, others, threads), rounds(rows, block, others, threads)
        assert after * (block + 16) < before * (whole + 16)


@given(st.integers(1, 3000), st.integers(1, 700))
def test_one_thread_keeps_the_largest_blocks(rows: int, others: int) -> None:
    assert even_block(rows, 144, 8, others, 1) == 144


@pytest.mark.parametrize("panels", [8, 16, 24, 32, 48, 64, 636])
@pytest.mark.parametrize("rows", [8, 32, 128, 512, 2048])
def test_two_threads_keep_them_in_models_of_usual_sizes(rows: int, panels: int) -> None:
    assert even_block(rows, 128, 8, panels, 2) == 128


@pytest.mark.parametrize(
    ("rows", "panels", "threads", "tasks"),
    [(128, 16, 64, 64), (128, 16, 16, 16), (128, 3, 2, 6), (512, 16, 64, 64), (8, 16, 64, 16), (1, 1, 64, 1)],
)
def test_as_many_tasks_as_threads_where_the_rows_allow(rows: int, panels: int, threads: int, tasks: int) -> None:
    assert -(-rows // even_block(rows, 128, 8, panels, threads)) * panels == tasks


@given(st.integers(0, 300), st.integers(1, 8), st.integers(1, 70))
def test_rows_are_drawn_once_each_and_by_every_thread(rows: int, most: int, threads: int) -> None:
    memory = layout.team_memory(1)
    member, drawn = Member(0, threads, memory.ctypes.data, 0, 0), []
    while (task := next_rows(member, rows, most))[0] < task[1]:
        drawn.append(range(*task))
    assert [row for task in drawn for row in task] == list(range(rows))
    assert max(map(len, drawn), default=0) <= most
    assert len(drawn) >= min(rows, threads)
