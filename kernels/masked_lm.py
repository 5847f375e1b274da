"""The masked-language-model head in one compiled function, entered by every thread of a team."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidistil.kernels._compile import kernel
from minidistil.kernels.gemm import PANEL
from minidistil.kernels.layer_norm import normalize_row
from minidistil.kernels.product import GELU, product, product_exact_width
from minidistil.kernels.team import meet, next_task

PHASES = 3


class Head(NamedTuple):
    """Addresses and sizes of the head: transform [D, D] and projector [V, D] packed, with their padded biases."""

    transform_weight: int
    transform_bias: int
    gain: int
    shift: int
    projector_weight: int
    projector_bias: int
    dim: int
    vocabulary: int
    eps: np.float32


@kernel
def masked_lm(head, hidden, rows, transformed, ld, logits, scratch, scratch_floats, team, thread, threads):
    """logits = projector(LayerNorm(GELU(transform(hidden)))).

    Args:
        hidden: address of float32 [rows, D], contiguous; logits: of float32 [rows, V], contiguous, overwritten.
        transformed: address of float32 [rows, ld], workspace.
        scratch: address of `scratch_floats` floats for each thread (encoder.scratch_floats).
        team: address of team memory with PHASES counters.

    Returns:
        True, or False where the team was told to give up.
    """
    own = scratch + thread * scratch_floats * 4
    n = head.dim
    panels = (n + PANEL - 1) // PANEL
    product(
        hidden, n, rows, head.transform_weight, head.transform_bias, n, 0, panels, transformed, ld, GELU, team, 0
    )
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
        transformed, ld, rows, head.projector_weight, head.projector_bias, n, head.vocabulary, logits, own, team, 2
    )
    return meet(team, threads)
