"""The goldens of the heads: what PyTorch gave, stage by stage, and how near a backend must come.

Bit for bit where the rows (four sentences, and of a single output a multiple of four; tokens are always enough) suffice
for orders of sums that do not look at how many rows there are (docs/arithmetic.md); else within 2e-6 of the largest
value, or of 1.
"""

from __future__ import annotations

import base64
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

from minidistil.models.base import Model, first_tokens
from minidistil.models.inputs import prepare
from tests.bits import assert_same_bits
from tests.heads import OF_SENTENCES, Head

PATH = Path(__file__).parent / "heads.json"
SENTENCES, LENGTH = 4, 16
TOLERANCE = 2e-6
_ROWS = 4  # fewest, in the regime of PyTorch's matrix product that the rules describe


@functools.cache
def golden() -> dict[str, Any]:
    """The stored goldens."""
    return json.loads(PATH.read_text())


def inputs(head: Head) -> dict[str, np.ndarray]:
    """Sentences of the golden of a head; all but the first end in padding."""
    arrays = head.inputs(SENTENCES, LENGTH, seed=7)
    mask = arrays["attention_mask"].reshape(SENTENCES, LENGTH)
    for b, n in enumerate((16, 15, 9, 1)):
        mask[b, n:] = 0
    return arrays


def stages(model: Model[Any], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a model gives: its logits and, of a head on sentences, what comes before and after the activation."""
    out = model(**arrays)
    result = {name: out[name] for name in out if name.endswith("logits")}
    if model.reads_first_only and model._head.dense is not None:
        flat = {name: x.reshape(-1, x.shape[-1]) for name, x in arrays.items()}
        batch = prepare(model.config, **flat).batch
        first = model.encode_packed(batch, first_tokens(batch))
        result["dense"] = model._backend.linear(first, model._head.dense)
        result["activated"] = model._backend.activation(model._head.activation, result["dense"])
    return result


def assert_stages(head: Head, got: dict[str, np.ndarray], want: dict[str, np.ndarray], mask: np.ndarray) -> None:
    """Hold every stage against PyTorch's, as near as it must come; at attended tokens only."""
    attended = mask.astype(bool).reshape(-1, mask.shape[-1])
    assert got.keys() == want.keys()
    for name, expected in want.items():
        x = got[name]
        if name not in ("dense", "activated"):
            assert x.shape == expected.shape
        if head.task not in OF_SENTENCES:
            x, expected = x.reshape(*attended.shape, -1)[attended], expected.reshape(*attended.shape, -1)[attended]
        assert x.shape == expected.shape, name
        if exact_regime(head, name, expected):
            assert_same_bits(x, expected, f"{head.name}, {name}")
        else:
            far = np.abs(x - expected).max() / max(1, np.abs(expected).max())  # a few logits may all be near zero
            assert far <= TOLERANCE, f"{head.name}, {name}: off by {far} of the largest value"


def exact_regime(head: Head, stage: str, want: np.ndarray) -> bool:
    """Whether a stage [rows, outputs] must have PyTorch's bits."""
    if head.task not in OF_SENTENCES:
        return True  # a multiple of sixteen tokens
    if stage == "logits" and (head.task == "MultipleChoice" or head.labels == 1):
        return want.size % _ROWS == 0
    return len(want) >= _ROWS


def encode(x: np.ndarray) -> dict[str, Any]:
    """An array as goldens store it: its shape, and the bytes of its float32 in base64."""
    return {"shape": list(x.shape), "float32": base64.b64encode(np.ascontiguousarray(x, "<f4")).decode()}


def decode(stored: dict[str, Any]) -> np.ndarray:
    """The array that `encode` stored."""
    return np.frombuffer(base64.b64decode(stored["float32"]), "<f4").reshape(stored["shape"])
