"""A process that answers from PyTorch in the pinned configuration: python -m tests.parity.worker

The pins are read when torch is loaded, so the tests, whose process may have loaded it otherwise, ask this one. Requests
and answers are pickles on standard input and output, from parent to child and back: no one else can write there.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from typing import Any, BinaryIO

import numpy as np

from tests.goldens.torch_reference import MULTIPLE, TorchReference, torch, transformers  # first: it sets the pins

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


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    return torch.nn.functional.linear(*map(torch.from_numpy, (x, w, b))).numpy()


def layer_norm(x: np.ndarray, w: np.ndarray, b: np.ndarray, eps: float) -> np.ndarray:
    weight, bias = torch.from_numpy(w), torch.from_numpy(b)
    return torch.nn.functional.layer_norm(torch.from_numpy(x), (x.shape[1],), weight, bias, eps).numpy()


def gelu(x: np.ndarray) -> np.ndarray:
    return torch.nn.functional.gelu(torch.from_numpy(x)).numpy()


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """One sentence [n, H, d], padded to a multiple of 16 keys that are masked; bias [1 or H, n, n] or None."""
    n = len(q)
    padded = -(-n // MULTIPLE) * MULTIPLE
    if bias is None:
        mask = np.zeros((1, padded, padded), bool)
        mask[:, :, :n] = True
    else:
        mask = np.full((len(bias), padded, padded), -np.inf, np.float32)
        mask[:, :n, :n] = bias

    def heads_first(x: np.ndarray) -> Any:
        x = np.pad(x, ((0, padded - n), (0, 0), (0, 0)))
        return torch.from_numpy(np.ascontiguousarray(x.transpose(1, 0, 2)[None]))

    out = torch.nn.functional.scaled_dot_product_attention(
        heads_first(q), heads_first(k), heads_first(v), attn_mask=torch.from_numpy(mask[None])
    )
    return np.ascontiguousarray(out[0].numpy().transpose(1, 0, 2)[:n])


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
