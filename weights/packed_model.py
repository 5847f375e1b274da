"""A model in another precision than its checkpoint's, of which nothing but the packed form is there.

To make whole numbers of float32 takes seconds, and memory for both; what `minidistil pack` has made of them is mapped.
So a model is read as its file has it, which costs nothing as long as nobody looks at the numbers, and its products and
tables are exchanged for what is packed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from minidistil.kernels import layout
from minidistil.weights.changing import changed
from minidistil.weights.model_weights import AnyLinear, Linear, ModelWeights, Table
from minidistil.weights.narrow import BFloat16Linear, Int8Linear, NarrowTable, rounded
from minidistil.weights.packed_products import numbers
from minidistil.weights.packing import PackedWeights, is_packed_from, parts


def as_packed(packed: PackedWeights, weights: ModelWeights, precision: str) -> ModelWeights | None:
    """A model in the precision in which it is packed; None where some of it is not there.

    Tables are the packed ones. The numbers of a product are made when they are looked at, which the engine never does.

    Args:
        packed: `pack_model`'s with tables, of these weights in another precision.
        weights: as the checkpoint has them.
        precision: of what is packed.
    """
    made: dict[int, Any] = {}
    try:
        for part in parts(weights, tables=True):
            panel = 0
            for source in part.made_of:
                if isinstance(source, (np.ndarray, NarrowTable)):
                    made[id(source)] = _table(packed, part.name, source)
                else:
                    made[id(source)] = _product(packed, part.name, source, panel, precision)
                    panel += layout.panels(len(source.bias))
        model = changed(weights, lambda linear: made[id(linear)], lambda table: made[id(table)])
        return model if is_packed_from(packed, model) else None
    except (KeyError, ValueError):  # arrays that are not there, or do not fit together
        return None


def _table(packed: PackedWeights, name: str, source: Table) -> Table:
    table = packed[f"{name}.weight"]
    scale = packed[f"{name}.scale"] if table.dtype == np.int8 else None
    if table.shape != source.shape or table.dtype not in (np.float32, np.uint16, np.int8):
        raise ValueError("another table")
    if scale is not None and (scale.shape != table.shape[:1] or scale.dtype != np.float32):
        raise ValueError("scales of another table")
    return table if table.dtype == np.float32 else NarrowTable(table, scale)


def _product(packed: PackedWeights, name: str, w: AnyLinear, panel: int, precision: str) -> AnyLinear:
    """A product whose columns begin with a panel of the packed one."""
    shape, panels = numbers(w).shape, packed[f"{name}.weight"]
    n, k = shape
    if precision == "bfloat16":
        return BFloat16Linear(_later(shape, np.uint16, lambda: rounded(w.weight)), w.bias)
    if panels.dtype != np.int8:  # also of a model in int8, of which a product may be kept in float32
        return w if isinstance(w, Linear) else Linear(_later(shape, np.float32, lambda: w.weight), w.bias)
    own = panels[panel : panel + layout.panels(n)]
    scale = packed[f"{name}.scale"][panel * layout.PANEL :][:n]
    smooth = packed[f"{name}.smooth"] if f"{name}.smooth" in packed.places else None
    codes, kept = _later(shape, np.int8, lambda: layout.unpack_int8(own, n, k)), None
    if f"{name}.kept" in packed.places:
        columns = packed[f"{name}.kept"][panel : panel + layout.panels(n)]
        kept = _later((n, *columns.shape[1:2]), np.float32, lambda: layout.unpack_kept(columns, n))
    return Int8Linear(codes, scale, w.bias, smooth, kept)


def _later(shape: tuple[int, ...], dtype: type, make: Callable[[], np.ndarray]) -> np.ndarray:
    return cast(np.ndarray, _Later(shape, dtype, make))


class _Later:
    """An array of which only the shape is known until somebody looks at its numbers; it is made anew each time."""

    def __init__(self, shape: tuple[int, ...], dtype: type, make: Callable[[], np.ndarray]) -> None:
        self.shape, self.dtype, self.ndim, self.size = shape, np.dtype(dtype), len(shape), int(np.prod(shape))
        self._make = make

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._make(), dtype)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return np.asarray(self)[rows]

    def __getattr__(self, name: str) -> Any:
        """Of the array: its methods."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)
