"""Which stored tensor is which parameter: prefixes, old names, layers, and what is left over."""

from __future__ import annotations

import re
from collections.abc import Iterable

from minidistil.weights.errors import listing
from minidistil.weights.families import Family

_BUFFERS = ("position_ids", "token_type_ids")  # constants that some versions of transformers saved
_OLD = {".gamma": ".weight", ".beta": ".bias"}  # of LayerNorm, in checkpoints converted from TensorFlow


class StoredNames:
    """The tensor names of a checkpoint, under the names that a family's table gives them.

    The base model's prefix is stripped wherever it stands, so that a bare model reads from a checkpoint with a head and
    the other way round.

    Attributes:
        prefixed: whether the checkpoint writes the prefix.
        ambiguous: pairs of stored names that mean the same parameter.
        layers: numbers of the layers of which any tensor is stored.
    """

    def __init__(self, family: Family, names: Iterable[str], group_layers: int = 1) -> None:
        self._family = family
        self._stored: dict[str, str] = {}
        self._used: set[str] = set()
        self.prefixed = False
        self.ambiguous: list[tuple[str, str]] = []
        self.layers: set[int] = set()
        self._group_layers = group_layers
        template = next(stored for stored in family.modules.values() if "{i}" in stored)
        self._stem = template.partition("{i}")[0]
        stem = re.split(r"\{[ij]\}", template)[:-1]
        number = r"(0|[1-9][0-9]{0,5})"
        self._layer = re.compile(number.join(map(re.escape, stem)) + number + r"\.")
        for name in names:
            self.prefixed |= name.startswith(family.prefix)
            known = self._known_as(name)
            if known in self._stored:
                self.ambiguous.append((self._stored[known], name))
            self._stored[known] = name
            layer = self._layer_of(known)
            if layer is not None:
                self.layers.add(layer)

    def find(self, parameter: str) -> list[str]:
        """Stored names of a canonical parameter such as `layers.0.q_lin.weight`, the preferred first; often one."""
        candidates = _candidates(self._family, parameter, self._group_layers)
        found = [self._stored[name] for name in candidates if name in self._stored]
        self._used.update(found)
        return found

    def expected(self, parameter: str) -> str:
        """The name under which this checkpoint would store a parameter."""
        return stored_as(self._family, parameter, self.prefixed, self._group_layers)

    def parameters(self, part: str, layer: int | None = None) -> list[str]:
        """Canonical parameters of a part ("embeddings", "layers", "pooler", "masked_lm") that this family has."""
        return parameters(self._family, part, layer)

    def layer_range(self) -> str:
        """The stored layers, as an error names them."""
        numbers = sorted(self.layers)
        if not numbers:
            return f"none: nothing is named {self._stem}N"
        if numbers == list(range(len(numbers))):
            return f"{len(numbers)}: {self._stem}N for N from 0 to {numbers[-1]}"
        return f"{len(numbers)}: {self._stem}N for N = {listing(map(str, numbers))}"

    def unexpected(self, n_layers: int | None, incomplete: bool) -> list[str]:
        """Stored tensors that nothing explains.

        Not among them: what was found; buffers; layers from n_layers on (their number is a fault of its own); known
        heads, asked for or not; and, in a checkpoint that writes the prefix, all that stands outside it, which is
        somebody's own head. But where parameters are missing (`incomplete`), the latter may be a misspelling.
        """
        left = []
        for known, name in self._stored.items():
            layer = self._layer_of(known)
            beyond = layer is not None and n_layers is not None and layer >= n_layers
            foreign = self.prefixed and not name.startswith(self._family.prefix) and not incomplete
            buffer = known.rpartition(".")[2] in _BUFFERS
            if name not in self._used and not (beyond or foreign or buffer or known.startswith(self._family.heads)):
                left.append(name)
        return left

    def _layer_of(self, known: str) -> int | None:
        """The number of the layer that a tensor belongs to, layers of groups counted through."""
        found = self._layer.match(known)
        if found is None:
            return None
        if self._layer.groups == 1:
            return int(found[1])
        within = int(found[2])
        return int(found[1]) * self._group_layers + within if within < self._group_layers else None

    def _known_as(self, name: str) -> str:
        known = name.removeprefix(self._family.prefix)
        for old, new in _OLD.items():
            if known.endswith(old):
                known = known.removesuffix(old) + new
        return known


def parameters(family: Family, part: str, layer: int | None = None) -> list[str]:
    """Canonical parameters of a part ("embeddings", "layers", "pooler", "masked_lm") that a family has."""
    modules = [module for module in family.modules if module.split(".")[0] == part]
    return [f"{module.format(i=layer)}.{kind}" for module in modules for kind in family.parameters(module)]


def stored_as(family: Family, parameter: str, prefixed: bool, group_layers: int = 1) -> str:
    """The name that transformers saves a canonical parameter under.

    Args:
        family: of the checkpoint.
        parameter: such as `layers.0.q_lin.weight`.
        prefixed: whether the base model's tensors have the prefix: the checkpoint of a model with a head.
        group_layers: layers of a group, in families that have groups.
    """
    name = _candidates(family, parameter, group_layers)[-1]
    return family.prefix + name if prefixed and not name.startswith(family.heads) else name


def _candidates(family: Family, parameter: str, group_layers: int) -> tuple[str, ...]:
    """The names that a parameter may be stored under, without the prefix; the one usually saved last."""
    if parameter in family.aliases:
        return family.aliases[parameter]
    module, _, kind = parameter.rpartition(".")
    layer = re.match(r"layers\.(\d+)\.", module)
    if layer:
        group, within = divmod(int(layer[1]), group_layers)
        stored = family.modules[f"layers.{{i}}.{module[layer.end() :]}"].format(i=group, j=within)
    else:
        stored = family.modules[module]
    return (f"{stored}.{kind}",)
