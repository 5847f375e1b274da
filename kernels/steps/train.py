"""The compiled function of training: `run` with the operations of the backward pass, losses and optimizer besides."""

from __future__ import annotations

from minidistil.kernels.code.compile import kernel
from minidistil.kernels.steps.run import taker

_take_all = taker("train")


@kernel
def train(call, thread, threads):
    """Take every step of a list, as `run` does."""
    return _take_all(call, thread, threads)
