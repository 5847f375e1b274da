"""A process that answers from PyTorch in the pinned configuration: python -m tests.parity.worker

The pins are read when torch is loaded, so the tests, whose process may have loaded it otherwise, ask this one. Requests
and answers are pickles on standard input and output, from parent to child and back: no one else can write there.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from typing import BinaryIO

import numpy as np

from tests.goldens.torch_reference import (  # first: it sets the pins
    TorchReference,
    attention,
    gelu,
    layer_norm,
    linear,
    torch,
    transformers,
)

from tests.goldens.load import checkpoint_tensors  # isort: skip

_models: dict[str, TorchReference] = {}


def versions() -> str:
    return f"torch {torch.__version__}, transformers {transformers.__version__}"


def alone(
    name: str, ids: np.ndarray, types: np.ndarray | None, bias: np.ndarray | None, threads: int
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Hidden states and logits of one sentence under a checkpoint of the goldens."""
    if name not in _models:
        _models[name] = TorchReference(*checkpoint_tensors(name))
    torch.set_num_threads(threads)
    try:
        return _models[name].alone(ids, types, bias)
    finally:
        torch.set_num_threads(1)


_ANSWERS = {f.__name__: f for f in (versions, alone, linear, layer_norm, gelu, attention)}


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    while True:
        try:
            name, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            answer = True, _ANSWERS[name](*arguments)
        except Exception:
            answer = False, traceback.format_exc()
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    frames = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not come between the frames
    serve(sys.stdin.buffer, frames)
