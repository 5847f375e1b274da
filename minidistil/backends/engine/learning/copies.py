"""Copies of a model's products in panels, for both directions, and the steps that make them anew after an update.

Forwards a product reads panels of W, as in inference: Y = X W^T. Backwards dX = dY W is a product as well, whose sum
runs over the rows of W: it reads panels of W^T. LayerNorms and embedding tables are read where the parameters are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from minidistil.backends.parameters import Parameters
from minidistil.kernels import layout
from minidistil.kernels.code import target
from minidistil.kernels.layout import address
from minidistil.kernels.steps.pack import Pack
from minidistil.kernels.steps.sum_rows import SumRows
from minidistil.kernels.steps.table import Matrix, Packed, Rows
from minidistil.kernels.steps.training.pack_columns import PackColumns
from minidistil.weights.packing import PackedWeights, Place, aligned_zeros

WORDS = "embeddings.word_embeddings.weight"
"""What a projector to the vocabulary is tied to."""

_LINE = 16  # floats of a cache line
_NO_ROWS = Rows(0, 0, 0)


class Module(NamedTuple):
    """A part of a product: y = x W^T + b.

    Attributes:
        weight, bias: names of the parameters.
        n, k: the shape of W.
    """

    weight: str
    bias: str
    n: int
    k: int


class Copies:
    """The copies, and where they lie.

    Attributes:
        modules: product -> the modules whose results stand side by side in it; a product `layers.{i}.qkv` has three.
        forward: panels and biases, by names as `weights.packing` gives them; each module begins with a panel.
        backward: product -> panels of W^T, without a bias; W of all its modules one above another.
        bytes: of all copies.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self.modules: Mapping[str, tuple[Module, ...]] = dict(_products(parameters))
        forward: dict[str, tuple[int, ...]] = {}
        backward: dict[str, tuple[int, ...]] = {}
        for name, modules in self.modules.items():
            panels, n, k = sum(layout.panels(m.n) for m in modules), sum(m.n for m in modules), modules[0].k
            forward |= {f"{name}.weight": (panels, k, layout.PANEL), f"{name}.bias": (panels * layout.PANEL,)}
            backward[f"{name}.weight"] = (layout.panels(k), n, layout.PANEL)
        self.forward, self._backward = _block(forward), _block(backward)
        self.backward: Mapping[str, Packed] = {}
        for name in self.modules:
            panels, n, _ = backward[f"{name}.weight"]
            self.backward[name] = Packed(self._backward.address(f"{name}.weight"), 0, n, panels * layout.PANEL)
        self.bytes: int = self.forward.block.nbytes + self._backward.block.nbytes

    def steps(self) -> Iterator[NamedTuple]:
        """What makes them of the parameters as they are: steps that may run side by side."""
        for name, modules in self.modules.items():
            whole, first, panel = self.backward[name], 0, 0
            weights, biases = (self.forward.address(f"{name}.{kind}") for kind in ("weight", "bias"))
            for m in modules:
                value, bias = (address(self._parameters.value(part)) for part in (m.weight, m.bias))
                yield Pack(value, m.n, m.k, weights + panel * m.k * layout.PANEL * 4)
                yield PackColumns(value, m.n, m.k, whole.weight, first, whole.k)
                place = Matrix(biases + panel * layout.PANEL * 4, m.n)
                yield SumRows(place, Rows(bias, m.n, 0), _NO_ROWS, _NO_ROWS, 1, m.n)
                first, panel = first + m.n, panel + layout.panels(m.n)


def _products(parameters: Parameters) -> Iterator[tuple[str, tuple[Module, ...]]]:
    """In the order of the forward pass."""

    def module(name: str) -> Module:
        own = f"{name}.weight"
        weight = own if own in parameters.places else WORDS
        n, k = parameters.places[weight][1]
        if (found := parameters.places[f"{name}.bias"][1]) != (n,):
            raise ValueError(f"{name}.bias must be [{n}], got {list(found)}")
        return Module(weight, f"{name}.bias", n, k)

    for i in range(len(parameters.weights().encoder.layers)):
        at = f"layers.{i}"
        yield f"{at}.qkv", tuple(module(f"{at}.{name}") for name in ("q_lin", "k_lin", "v_lin"))
        for name in ("out_lin", "lin1", "lin2"):
            yield f"{at}.{name}", (module(f"{at}.{name}"),)
    for name in parameters:
        part, _, kind = name.rpartition(".")
        if part.startswith(f"{parameters.task}.") and kind == "bias" and not part.endswith("layer_norm"):
            yield part, (module(part),)


def _block(shapes: Mapping[str, tuple[int, ...]]) -> PackedWeights:
    places, size = dict[str, Place](), 0
    for name, shape in shapes.items():
        places[name] = Place(size, shape)
        size += -(-math.prod(shape) // _LINE) * _LINE
    return PackedWeights(aligned_zeros(size), places, target.sliver())
