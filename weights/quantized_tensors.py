"""Tensors of whole numbers in a checkpoint, `weight`, and what stands beside them, against what config.json says.

A module (`layers.0.q_lin`) that is quantized has its `weight` I8 [N, K], a `weight_scale` for each row, [N, 1] or [N],
and perhaps an `input_smooth` [K], which its input is multiplied by. Where C of these are zero there is `weight_kept`
[N, C] too, the weights of those columns. Nothing here is computed with before all of it is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from minidistil.weights._names import StoredNames
from minidistil.weights._storage import READABLE, count_nonfinite, release_pages
from minidistil.weights.checkpoint import Checkpoint
from minidistil.weights.errors import listing, quoted, shape_text
from minidistil.weights.families import TIES, Family
from minidistil.weights.model_weights import Table
from minidistil.weights.named import sized
from minidistil.weights.narrow import MOST_COLUMNS, Int8Linear, NarrowTable, kept_columns
from minidistil.weights.quantization_config import EMBEDDING, KEY, LINEAR, read_quantization

SCALE, SMOOTH, KEPT = COMPANIONS = ("weight_scale", "input_smooth", "weight_kept")
"""What stands beside the whole numbers of a product, the last two perhaps; of a table, the first."""
# Of schemes that are not computed: zero points of weights, groups of columns, packed numbers, static inputs.
_FOREIGN = (
    "weight_zero_point", "weight_g_idx", "weight_packed", "weight_shape", "weight_global_scale", "input_scale",
    "input_zero_point", "input_global_scale", "output_scale", "output_zero_point",
)  # fmt: skip
_GREATEST = float(np.finfo(np.float32).max)


def is_narrow(module: str) -> bool:
    """Whether a canonical module is one of those that may have fewer bits than float32 in memory.

    The other heads' products, which are small, and the part of MobileBERT's projection beyond the words are float32.
    """
    return module.startswith(("embeddings.", "layers.", "masked_lm.")) and module != "masked_lm.extension"


def kind_of(module: str) -> str:
    """What PyTorch's class a canonical module is: LINEAR or EMBEDDING."""
    return EMBEDDING if module.endswith("_embeddings") else LINEAR


def is_matrix(family: Family, parameter: str) -> bool:
    """Whether a canonical parameter is a weight that may be quantized: of a product or a table, not of a norm."""
    return parameter.endswith(".weight") and len(sized(family, parameter)) == 2


def together(family: Family) -> tuple[str, ...]:
    """The modules of a layer that are one product of one input; MobileBERT's values have another."""
    return ("q_lin", "k_lin") if family.variant else ("q_lin", "k_lin", "v_lin")


class QuantizedTensors:
    """The whole numbers of one checkpoint; `ties`: whether its projection onto the vocabulary is the words' table."""

    def __init__(
        self, checkpoint: Checkpoint, family: Family, names: StoredNames, faults: list[str], ties: bool
    ) -> None:
        self._checkpoint = checkpoint
        self._ties = ties
        self._family = family
        self._names = names
        self._faults = faults
        self._declared = checkpoint.config.get(KEY) is not None
        self._quantization = read_quantization(checkpoint.config, family.prefix, faults)
        suffixes = {name.rpartition(".")[2] for name in checkpoint.names}
        self._companions = [suffix for suffix in (*COMPANIONS, *_FOREIGN) if suffix in suffixes]

    def read(self, found: Mapping[str, str], missing: list[str]) -> dict[str, Table]:
        """Weights that are stored as whole numbers, `{module}.weight`; `.input_smooth` and `.weight_kept` in float32.

        A product that is float32 in memory is made so. What is missing is added to `missing`; every other fault to the
        list of faults.

        Args:
            found: canonical parameter -> stored tensor.
            missing: canonical parameters that no tensor has.
        """
        weights = {p.removesuffix(".weight"): stored for p, stored in found.items() if is_matrix(self._family, p)}
        whole = {module: stored for module, stored in weights.items() if self._checkpoint.stored(stored)[0] == "I8"}
        disputed = self._check_agreement(weights, whole)
        arrays: dict[str, Table] = {}
        for module, stored in whole.items():
            if module not in disputed:
                arrays |= self._module(module, stored, missing)
        tied = {p.removesuffix(".weight"): found.get(TIES[p], "") for p in missing if p in TIES}
        self._check_companions([*weights, *tied], {**whole, **self._tied(tied, arrays)})
        if not disputed:
            self._check_together(weights, whole, arrays)
        return arrays

    def _check_agreement(self, weights: Mapping[str, str], whole: Mapping[str, str]) -> set[str]:
        """What is stored as whole numbers must be said to be so, and the other way round; the modules that are not."""
        if not self._declared:
            self._say(f"tensors stored as I8, and config.json has no {KEY} to say what they are", whole.values())
            return set(whole)
        if self._quantization is None:  # a fault of its own
            return set()
        left_out, otherwise, weights_only = {}, [], []
        for module, stored in weights.items():
            group = self._quantization.group_of(stored.rpartition(".")[0], kind_of(module))
            if module in whole and group is None:
                left_out[module] = stored
            elif module not in whole and group is not None:
                otherwise.append(f"{stored} ({self._checkpoint.stored(stored)[0]})")
            elif group is not None and not group.inputs and kind_of(module) == LINEAR:
                weights_only.append(stored)
        self._say(f"tensors stored as I8, but not quantized by config.json's {KEY}", left_out.values())
        self._say(f"tensors that are int8 by config.json's {KEY}, but stored otherwise", otherwise)
        self._say("products of groups without input_activations, which are computed with whole numbers", weights_only)
        there = {self._bare(name.rpartition(".")[0]) for name in self._checkpoint.names}
        there |= {self._bare(self._names.expected(tied)).rpartition(".")[0] for tied in self._tied_names()}
        for name, where in self._quantization.named().items():
            if name not in there:
                self._faults.append(f"config.json: {KEY}: {where} names {quoted(name)}, which is not in the checkpoint")
        return set(left_out)

    def _tied_names(self) -> Iterable[str]:
        return (tied for tied in TIES if tied.rpartition(".")[0] in self._family.modules)

    def _bare(self, name: str) -> str:
        return name.removeprefix(self._family.prefix)

    def _say(self, fault: str, names: Iterable[str]) -> None:
        names = list(names)
        if names:
            self._faults.append(f"{fault} ({len(names)}): {listing(names)}")

    def _tied(self, modules: Mapping[str, str], arrays: Mapping[str, Table]) -> dict[str, str]:
        """Of tied modules, which have no weight, those with scales of their own: they must be the table's."""
        scaled = {}
        for module, source in modules.items():
            table = arrays.get(TIES[f"{module}.weight"])
            if not isinstance(table, NarrowTable) or table.scale is None:
                continue
            for stored in self._names.find(f"{module}.{SCALE}"):
                scaled[module] = source
                scale = self._factors(stored, ((len(table), 1), (len(table),)))
                if scale is not None and not np.array_equal(scale, table.scale):
                    self._faults.append(f"{quoted(stored)} must be the scales of {quoted(source)}, which it is tied to")
        return scaled

    def _module(self, module: str, stored: str, missing: list[str]) -> dict[str, Table]:
        """The arrays of one module; {} where they are faulty."""
        shape = self._checkpoint.stored(stored)[1]
        used = self._used(module)
        scales, smooths, kepts = (self._names.find(f"{module}.{kind}") if kind in used else [] for kind in COMPANIONS)
        if not scales:
            missing.append(f"{module}.{SCALE}")
        if len(shape) != 2:  # a fault already
            return {}
        rows, columns = shape
        if columns > MOST_COLUMNS and (kind_of(module) == LINEAR or module == "embeddings.word_embeddings"):
            self._faults.append(f"{quoted(stored)} has {columns} columns; {MOST_COLUMNS} are the most that int8 sums")
        before = len(self._faults)
        scale = self._factors(scales[0], ((rows, 1), (rows,))) if scales else None
        smooth = self._factors(smooths[0], ((columns,),), zeros=True) if smooths else None
        kept = self._kept(module, kepts, rows, smooths, smooth)
        if scale is None or len(self._faults) > before:
            return {}
        if 128.0 * float(scale.max(initial=0)) * (1.0 if smooth is None else float(smooth.max(initial=0))) > _GREATEST:
            self._faults.append(f"{quoted(stored)} stands for numbers beyond float32, by its {SCALE}")
            return {}
        codes = self._checkpoint.read_stored(stored)
        if not is_narrow(module):
            return {f"{module}.weight": Int8Linear(codes, scale, scale, smooth, kept).weight}
        arrays: dict[str, Table] = {f"{module}.weight": NarrowTable(codes, scale)}
        beside = {f"{module}.{SMOOTH}": smooth, f"{module}.{KEPT}": kept}
        return arrays | {name: x for name, x in beside.items() if x is not None}

    def _factors(self, stored: str, shapes: tuple[tuple[int, ...], ...], zeros: bool = False) -> np.ndarray | None:
        """float32 [n], finite and above zero, with `zeros` perhaps zero; None with a fault."""
        values = self._read(stored, shapes)
        if values is None:
            return None
        values = values.reshape(-1)
        counts = {
            "zero": 0 if zeros else np.count_nonzero(values == 0),
            "negative": np.count_nonzero(values < 0),
            "NaN": np.count_nonzero(np.isnan(values)),
            "infinite": np.count_nonzero(values == np.inf),
        }
        bad = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        if bad:
            self._faults.append(f"{quoted(stored)} has of {values.size} values {bad}; expected numbers above zero")
            return None
        return values

    def _kept(
        self, module: str, stored: list[str], rows: int, smooths: list[str], smooth: np.ndarray | None
    ) -> np.ndarray | None:
        """float32 [N, C], finite, of C columns where `smooth` is zero; None where there are none, or with a fault."""
        count = len(kept_columns(smooth))
        if not stored:
            if count:
                name = quoted(self._names.expected(f"{module}.{KEPT}"))
                self._faults.append(
                    f"{quoted(smooths[0])} keeps columns in float32 by its zeros ({count}), and their weights are "
                    f"missing: add {name} {shape_text((rows, count))}, or write numbers above zero"
                )
            return None
        known = smooth is not None or not smooths
        if known and not count:
            self._faults.append(
                f"{quoted(stored[0])} has the weights of columns where {SMOOTH} is zero, which it is nowhere: write "
                "zeros there, or remove it"
            )
            return None
        values = self._read(stored[0], ((rows, count),) if known else ())
        if values is not None:
            if bad := count_nonfinite(values):
                self._faults.append(f"{quoted(stored[0])} has of {values.size} values {bad} NaN or infinite")
            release_pages(values)
        return values

    def _read(self, stored: str, shapes: tuple[tuple[int, ...], ...]) -> np.ndarray | None:
        """float32 of one of these shapes, of any where there are none; None with a fault."""
        dtype, shape = self._checkpoint.stored(stored)
        if dtype not in READABLE:
            self._faults.append(f"{quoted(stored)} is stored as {dtype}; it is read from {', '.join(READABLE)}")
            return None
        if shapes and shape not in shapes:
            expected = " or ".join(map(shape_text, shapes))
            self._faults.append(f"{quoted(stored)} is {shape_text(shape)}, expected {expected}")
            return None
        return self._checkpoint.read(stored)

    def _used(self, module: str) -> tuple[str, ...]:
        """What may stand beside a module's whole numbers; a projection that is the words' table is one."""
        table = kind_of(module) == EMBEDDING or (self._ties and f"{module}.weight" in TIES)
        return COMPANIONS[:1] if table else COMPANIONS

    def _check_companions(self, modules: Iterable[str], whole: Mapping[str, str]) -> None:
        """Nothing that changes what a weight means may be there without being used."""
        stray, foreign = [], []
        for module in modules:
            used = self._used(module) if module in whole else ()
            for suffix in self._companions:
                there = self._names.find(f"{module}.{suffix}")
                if suffix in _FOREIGN:
                    foreign += there
                elif suffix not in used:
                    stray += there
        known = f"weight, {SCALE} and perhaps {SMOOTH} and {KEPT}"
        self._say(f"tensors of another scheme, where there are {known}", foreign)
        self._say("tensors that belong to nothing quantized", stray)

    def _check_together(
        self, weights: Mapping[str, str], whole: Mapping[str, str], arrays: Mapping[str, Table]
    ) -> None:
        """What is one product is int8 as a whole, and its input is multiplied by one thing."""
        for layer in sorted(self._names.layers):
            modules = [f"layers.{layer}.{name}" for name in together(self._family)]
            if not all(module in weights for module in modules):  # a fault already
                continue
            names = listing(weights[module].rpartition(".")[0] for module in modules)
            if 0 < sum(module in whole for module in modules) < len(modules):
                some = listing(weights[module].rpartition(".")[0] for module in modules if module in whole)
                self._faults.append(f"{names} are one product: all of them int8, or none; int8 are {some}")
            elif all(f"{module}.weight" in arrays for module in modules):
                smooths = {_bytes(arrays.get(f"{module}.{SMOOTH}")) for module in modules}
                if len(smooths) > 1:
                    self._faults.append(f"{names} are one product: their {SMOOTH} must be equal, or none be there")


def _bytes(x: Table | None) -> bytes | None:
    return x.tobytes() if isinstance(x, np.ndarray) else None
