"""What make_goldens.py recorded of sentence-transformers, and of which texts."""

from __future__ import annotations

import base64
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

PATH = Path(__file__).with_name("goldens.json")
TEXTS = [
    "The river runs through the old city.",
    "",
    "wine",
    "A cold night, and no light in any house of the long street!",
    "🙂 naïve café, 東京 — and words that nobody knows: zyxgwv",
    "the music of rain on water " * 20,
    "Who was the king of Berlin in the year of the great war?",
]
QUERY = "Where does the river run?"
DOCUMENTS = [*TEXTS, "It runs through the city.", "There are no rivers here, " * 120]
PROMPTS = {"prompts": {"query": "the query: ", "night": "At night, "}, "default_prompt_name": "night"}


def pack(array: Any) -> dict[str, Any]:
    """An array as JSON holds it."""
    values = np.ascontiguousarray(array)
    values = values.astype(values.dtype.newbyteorder("<"))
    return {"type": values.dtype.str, "shape": values.shape, "values": base64.b64encode(values.tobytes()).decode()}


def unpack(held: dict[str, Any]) -> np.ndarray:
    """The array that `pack` made into JSON."""
    return np.frombuffer(base64.b64decode(held["values"]), np.dtype(held["type"])).reshape(held["shape"])


@functools.cache
def recorded() -> dict[str, Any]:
    """Everything that was recorded."""
    found: dict[str, Any] = json.loads(PATH.read_text())
    return found


def assert_near(got: np.ndarray, want: np.ndarray) -> None:
    """Rows that point the same way (cosine 1 - 1e-6 would be 1.4e-3 here) and are as long, to 2e-6 of their length."""
    assert got.shape == want.shape
    assert got.dtype == want.dtype == np.float32
    assert np.isfinite(got).all()
    got, want = (np.atleast_2d(x).astype(np.float64) for x in (got, want))
    off = np.linalg.norm(got - want, axis=1) / np.linalg.norm(want, axis=1)
    assert off.max() <= 2e-6, f"off by {off.max():.2g} of a row's length"
