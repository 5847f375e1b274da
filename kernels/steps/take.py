"""Steps that one thread takes by itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidistil.kernels import layout
from minidistil.kernels.code import native
from minidistil.kernels.steps.table import Run, slots, written

slots()  # imports every operation now, with the engine: a fork must not find one half imported


def take(*operands: NamedTuple, scratch_floats: int = layout.ROW_BLOCK * layout.PANEL, entry: str = "run") -> None:
    """Take steps one after another on the caller's thread, without the GIL; callers run side by side.

    `scratch_floats` is enough for all but the attention, which needs layout.scratch_floats of its longest sentence, and
    what training needs more. `entry`: the compiled function, a name of ENTRIES.
    """
    scratch = np.empty(scratch_floats, np.float32)
    numbers = [*Run(len(operands), layout.address(scratch), scratch.size, 0)]
    for step in operands:
        numbers += written(step, True, entry)
    call = np.array(numbers + [0] * (layout.COUNTERS + len(operands)), np.int64)
    native.entry(entry)(layout.address(call), 0, 1)
