"""The precisions that a model's weights can have, and which one they have.

What differs is what most of the bytes are: the products of the encoder and of the vocabulary, and the tables of
embeddings. Norms, biases and the other heads stay float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from minidistil.weights.changing import changed
from minidistil.weights.model_weights import AnyLinear, ModelWeights, Table
from minidistil.weights.narrow import BFloat16Linear, Int8Linear
from minidistil.weights.quantization_config import KEY

Precision = Literal["float32", "bfloat16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def precision_of(weights: ModelWeights) -> Precision:
    """That of a model: int8 where any of its products or tables is."""
    found: set[Precision] = set()

    def linear(w: AnyLinear) -> AnyLinear:
        found.add("int8" if isinstance(w, Int8Linear) else "bfloat16" if isinstance(w, BFloat16Linear) else "float32")
        return w

    def table(x: Table) -> Table:
        found.add("float32" if isinstance(x, np.ndarray) else "bfloat16" if x.scale is None else "int8")
        return x

    changed(weights, linear, table)
    return "int8" if "int8" in found else "bfloat16" if "bfloat16" in found else "float32"


def stored_precision(config: Mapping[str, Any]) -> Precision:
    """The precision that a model has where none is asked for: int8 where its config.json says so, else float32."""
    return "float32" if config.get(KEY) is None else "int8"


def check_precision(precision: str | None) -> None:
    """Refuse a precision that there is not (ValueError); None is none."""
    if precision is not None and not (isinstance(precision, str) and precision in PRECISIONS):
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")


def require_float32(weights: ModelWeights, whose: str, use: str) -> None:
    """Refuse weights in fewer bits where float32 itself is needed: to be changed, or to be written.

    Args:
        weights: of a model.
        whose: what the message calls it.
        use: what needs float32.

    Raises:
        ValueError: says what to take in their place.
    """
    found = precision_of(weights)
    if found != "float32":
        raise ValueError(
            f"{whose} has {found} weights, and {use} needs float32: take the checkpoint that they were made of"
        )
