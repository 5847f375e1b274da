"""The masked-language-model head in one compiled function, entered by every thread of a team."""

from __future__ import annotations

from minidistil.kernels._compile import kernel
from minidistil.kernels.layer_norm import normalize_row
from minidistil.kernels.layout import PANEL
from minidistil.kernels.product import product, product_exact_width
from minidistil.kernels.team import meet, next_task


@kernel
def masked_lm(head, work, team, thread, threads):
    """logits = projector(LayerNorm(activation(transform(hidden)))).

    Args:
        head, work: layout.Head and layout.HeadCall.
        team: address of team memory with HEAD_PHASES counters; thread: 0 to threads - 1.

    Returns:
        True, or False where the team was told to give up.
    """
    own = work.scratch + thread * work.scratch_floats * 4
    n, rows, transformed, ld = head.width, work.rows, work.transformed, work.ld
    panels = (n + PANEL - 1) // PANEL
    product(
        work.hidden, head.dim, rows, head.transform_weight, head.transform_bias, head.dim, 0, panels,
        transformed, ld, head.activation, team, 0,
    )  # fmt: skip
    if not meet(team, threads):
        return False
    while True:
        i = next_task(team, 1)
        if i >= rows:
            break
        normalize_row(transformed + i * ld * 4, n, head.gain, head.shift, head.eps, own)
    if not meet(team, threads):
        return False
    product_exact_width(
        transformed, ld, rows, head.projector_weight, head.projector_bias, head.bias_last != 0, n, head.vocabulary,
        work.logits, own, team, 2,
    )  # fmt: skip
    return meet(team, threads)
