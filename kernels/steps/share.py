"""How rows are shared out: in blocks so small that few tasks leave no thread without work. No bit depends on it."""

from __future__ import annotations

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.steps.team import next_task

# What a task costs beside its rows, in rows: the way of a panel, or of a head's keys and values, from a cache that the
# cores share. And the smallest block: reading a panel from memory takes as long as multiplying it with some 32 rows.
_MOVING, _LEAST = 16, 32


@kernel
def even_block(rows, block, step, others, threads):
    """Rows of a block, at most `block`, so that `threads` take about the same time for all blocks of all `others`.

    Args:
        rows: how many there are, at least one.
        block: the largest block, which is best for one thread.
        step: blocks are a multiple of it.
        others: what each block of rows is computed with, one task each: panels, heads.
        threads: of the team.
    """
    best, blocks = block, (rows + block - 1) // block
    if threads == 1:
        return best
    least = (blocks * others + threads - 1) // threads * (block + _MOVING)
    while blocks * others < 4 * threads:
        blocks += 1
        height = ((rows + blocks - 1) // blocks + step - 1) // step * step
        if height < _LEAST:
            break
        tasks = (rows + height - 1) // height * others
        cost = (tasks + threads - 1) // threads * (height + _MOVING)
        if cost < least:
            best, least = height, cost
    return best


@kernel
def next_rows(member, rows, most):
    """The rows of a thread's next task in a step whose tasks are rows alone: the first, and the end.

    Args:
        member: the thread.
        rows: how many there are in all.
        most: of a task; fewer where threads would go without.

    Returns:
        Two numbers; the first is not below the end when no rows are left.
    """
    block = max(1, min(most, rows // member.threads))
    first = next_task(member) * block
    return first, min(first + block, rows)
