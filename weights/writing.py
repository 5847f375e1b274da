"""Weights in memory as the files of a checkpoint: the names of the family, in int8 or bfloat16 where they are so.

int8 is written as compressed-tensors writes it, `weight` I8 and `weight_scale` F32 [N, 1], and, which are ours,
`input_smooth` F32 [K] and `weight_kept` F32 [N, C]; quantization_config in config.json says which modules are so.
bfloat16 is plain BF16.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from minidistil.class_names import BEGINNINGS
from minidistil.weights._names import parameters, stored_as
from minidistil.weights._storage import count_nonfinite
from minidistil.weights.config import Config
from minidistil.weights.config_values import layer_order, parse, stored_layers
from minidistil.weights.errors import shape_text
from minidistil.weights.families import FAMILIES, TASKS, TIES
from minidistil.weights.file_names import PACKED_FILES, WEIGHT_FILES
from minidistil.weights.model_weights import Linear, ModelWeights, Table, whole
from minidistil.weights.named import Part, modules, size_of, sized
from minidistil.weights.narrow import (
    MOST_COLUMNS,
    BFloat16Linear,
    Int8Linear,
    NarrowTable,
    count_nonfinite_bits,
    kept_columns,
)
from minidistil.weights.quantization_config import KEY, LINEAR, quantization_config
from minidistil.weights.quantized_tensors import COMPANIONS, KEPT, SCALE, SMOOTH, is_narrow, kind_of, together
from minidistil.weights.saving import Content, as_json, save

ElementType = Literal["F32", "F16"]
ELEMENT_TYPES: dict[str, type[np.floating[Any]]] = {"F32": np.float32, "F16": np.float16}

# Where another program had the weights, in which version and type: not these.
_FOREIGN = ("_name_or_path", "transformers_version", "torch_dtype", "gradient_checkpointing", "num_labels", KEY)


def write_quantized(
    folder: str | os.PathLike[str],
    config: Config | Mapping[str, Any],
    weights: ModelWeights,
    files: Mapping[str, Content] | None = None,
    *,
    made: Mapping[str, Any] | None = None,
    replaces: Collection[str] = (),
) -> Path:
    """Write a checkpoint of weights in int8 or bfloat16: all of it, or nothing that anybody takes for one.

    It has the heads that the weights have, and config.json names the classes of transformers that read them, that of
    masked words last.

    Args:
        folder: made where there is none; the weights of another checkpoint in it are replaced.
        config: of the model; labels are its `id2label`.
        weights: of any family, in any precision.
        files: what else belongs to it: a tokenizer's files, README.md, modules.json and the modules' own.
        made: for int8, what config.json's entry `minidistil` says of how it was made.
        replaces: names of files that are removed where they are not among those written.

    Returns:
        The folder.

    Raises:
        CheckpointError: a faulty configuration, or the folder cannot be written.
        ValueError: weights that are not as the configuration says, or not finite: all of them are named.
    """
    raw = configuration(config.raw if isinstance(config, Config) else config, weights)
    tensors, kept = stored_tensors(raw, weights)
    if any(x.dtype == np.int8 for x in tensors.values()):
        raw[KEY] = quantization_config(kept, made or {})
    written = {**(files or {}), "config.json": as_json(raw), WEIGHT_FILES[0]: tensors}
    save(folder, written, replaces=(*WEIGHT_FILES, *PACKED_FILES.values(), *replaces))
    return Path(folder)


def configuration(raw: Mapping[str, Any], weights: ModelWeights) -> dict[str, Any]:
    """The config.json of these weights: that which is given, with the classes that their heads are read by.

    Raises:
        CheckpointError: with every fault of it.
    """
    kept = {name: value for name, value in raw.items() if name not in _FOREIGN}
    beginning = BEGINNINGS[kept["model_type"]]
    heads = [ending for ending, head in reversed(TASKS.items()) if getattr(weights, head) is not None]
    named_config = {**kept, "architectures": [f"{beginning}{ending}" for ending in heads or ("Model",)]}
    checked = Config.from_dict({**raw, **named_config})
    labels = {"id2label": {str(i): label for i, label in checked.id2label.items()}, "label2id": dict(checked.label2id)}
    labelled = weights.sequence_classification is not None or weights.token_classification is not None
    # transformers computes in the type that stands here: in float32, as minidistil does, whatever the file holds.
    return {**named_config, **(labels if labelled else {}), "dtype": "float32"}


def stored_tensors(
    raw: Mapping[str, Any], weights: ModelWeights, element_type: ElementType = "F32"
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The tensors of a file, and the modules in it that are float32 where others are quantized.

    Args:
        raw: of `configuration`.
        weights: float32, int8 or bfloat16, which are uint16 bits in the result.
        element_type: what float32 is rounded to.

    Raises:
        ValueError: naming everything that is not as the configuration says, or not finite.
    """
    writing = _Writing(raw, weights, element_type)
    if writing.faults:
        raise ValueError("weights that cannot be written: " + "; ".join(writing.faults))
    return writing.stored, writing.kept


class _Writing:
    """One pass over weights, which notes every fault and goes on.

    Attributes:
        stored: stored name -> array.
        kept: stored names of modules that are products or tables, and float32.
        faults: one sentence a fault.
    """

    def __init__(self, raw: Mapping[str, Any], weights: ModelWeights, element_type: ElementType) -> None:
        self._element_type = element_type
        self.stored: dict[str, np.ndarray] = {}
        self.kept: list[str] = []
        self.faults: list[str] = []
        base = FAMILIES[raw["model_type"]]
        self._values = parse(base, raw, self.faults)
        self._values["num_labels"] = len(raw.get("id2label", ()))
        self._family = base.of(self._values)
        self._headed = raw["architectures"] != [f"{BEGINNINGS[raw['model_type']]}Model"]
        self._stored_layers = stored_layers(self._values) or 0
        parts = self._parts(weights)
        expected = self._expected(weights)
        self.faults += [
            f"{name} is nothing that a {base.model_type} model has" for name in parts.keys() - expected.keys()
        ]
        heads = {self._family.modules.get(f"{head}.dense") for head in TASKS.values() if f"{head}.dense" in parts}
        for module, kinds in expected.items():
            if module not in parts:
                self.faults += [f"{module}.{kind} is missing" for kind in kinds]
            elif module != "pooler" or self._family.modules[module] not in heads:  # it may be a head's first product
                self._module(module, parts[module], weights.encoder.embeddings.word_embeddings)
        self._check_together(parts)

    def _parts(self, weights: ModelWeights) -> dict[str, Part]:
        """Canonical module -> part; of layers that are applied again, the stored ones."""
        order = layer_order(self._values)
        if len(order) != len(weights.encoder.layers):
            found = len(weights.encoder.layers)
            self.faults.append(f"{found} layers, where the configuration has {len(order)}")
            order = list(range(found))
        first: dict[int, int] = {}
        for i, stored in enumerate(order):
            if weights.encoder.layers[first.setdefault(stored, i)] is not weights.encoder.layers[i]:
                self.faults.append(f"layers {first[stored]} and {i} are one in the configuration, and differ")
        names = {f"layers.{i}": f"layers.{stored}" for stored, i in first.items()}
        parts: dict[str, Part] = {}
        for module, part in modules(weights):
            at = ".".join(module.split(".", 2)[:2])
            if not module.startswith("layers."):
                parts[module] = part
            elif at in names:
                parts[names[at] + module[len(at) :]] = part
        return parts

    def _expected(self, weights: ModelWeights) -> dict[str, list[str]]:
        """Every canonical module of the encoder and of the heads that are there -> kinds of its parameters."""
        heads = [head for head in ("pooler", *TASKS.values()) if getattr(weights, head) is not None]
        layers = range(self._stored_layers)
        names = [*parameters(self._family, "embeddings")]
        names += [name for i in layers for name in parameters(self._family, "layers", i)]
        names += [name for head in heads for name in parameters(self._family, head)]
        narrow = self._family.projects_other_widths_only and self._values["embedding_size"] == self._values["dim"]
        expected: dict[str, list[str]] = {}
        for name in names:
            module, _, kind = name.rpartition(".")
            if not (narrow and module == "embeddings.projection"):
                expected.setdefault(module, []).append(kind)
        return expected

    def _module(self, module: str, part: Part, words: Table) -> None:
        """Take one part's arrays, or note what is wrong with them."""
        arrays, place = _arrays(part), self._stored_as(f"{module}.weight").rpartition(".")[0]
        if f"{module}.weight" in TIES and self._values["tie_word_embeddings"]:
            if not _is_table(part, words):
                source = TIES[f"{module}.weight"]
                self.faults.append(f"{module}.weight is not {source}, and the configuration says that they are tied")
            arrays = {"bias": arrays["bias"]}
            self.kept.append(place)  # transformers finds no scale for it, and takes the table's numbers as they are
        elif arrays["weight"].dtype == np.float32 and arrays["weight"].ndim == 2:
            self.kept.append(place)
        if (KEPT in arrays) != (len(kept_columns(arrays.get(SMOOTH))) > 0):
            self.faults.append(f"{module}.{KEPT} must be there where {module}.{SMOOTH} has zeros, and nowhere else")
        for kind, array in arrays.items():
            name = self._stored_as(f"{module}.{kind}")
            if name in self.stored:
                self.faults.append(f"{module}.{kind} is stored as {name}, which is another head's")
            self.stored[name] = self._array(module, kind, array, arrays)

    def _stored_as(self, parameter: str) -> str:
        return stored_as(self._family, parameter, self._headed, self._values.get("group_layers", 1))

    def _array(self, module: str, kind: str, array: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """One array as it is stored; what is wrong with it is noted."""
        name = f"{module}.{kind}"
        numbers = () if kind in COMPANIONS else sized(self._family, name)
        expected = tuple(size_of(number, self._values) or 0 for number in numbers)
        if kind in COMPANIONS:
            rows, columns = arrays["weight"].shape[:1], arrays["weight"].shape[1:]
            expected = {SCALE: rows, SMOOTH: columns, KEPT: (*rows, len(kept_columns(arrays.get(SMOOTH))))}[kind]
        narrow = kind == "weight" and len(expected) == 2 and is_narrow(module)
        if array.shape != expected or array.dtype not in (
            (np.float32, np.int8, np.uint16) if narrow else (np.float32,)
        ):
            meaning, sizes = f" ({', '.join(numbers)})" if numbers else "", shape_text(expected)
            self.faults.append(f"{name} is {array.dtype} {shape_text(array.shape)}, expected float32 {sizes}{meaning}")
        elif array.dtype == np.int8:
            if array.shape[1] > MOST_COLUMNS and kind_of(module) == LINEAR:
                self.faults.append(f"{name} has {array.shape[1]} columns; {MOST_COLUMNS} are the most that int8 sums")
        elif array.dtype == np.uint16:
            if bad := count_nonfinite_bits(array):
                self.faults.append(f"{name} has {bad} of {array.size} values that are not finite")
        else:
            if kind not in COMPANIONS:
                with np.errstate(over="ignore"):
                    array = array.astype(ELEMENT_TYPES[self._element_type], copy=False)
            elif (kind == SCALE and not (array > 0).all()) or (kind == SMOOTH and (array < 0).any()):
                self.faults.append(f"{name} has values that are not above zero")
            if bad := count_nonfinite(np.ascontiguousarray(array, np.float32)):
                self.faults.append(
                    f"{name} has {bad} of {array.size} values that are not finite as {self._element_type}"
                )
        return np.ascontiguousarray(array[:, None] if kind == SCALE and array.ndim == 1 else array)

    def _check_together(self, parts: Mapping[str, Part]) -> None:
        """What is one product of one input is int8 as a whole, and has one `smooth`."""
        for layer in range(self._stored_layers):
            linears = [parts.get(f"layers.{layer}.{name}") for name in together(self._family)]
            smooths = {_smooth(linear) for linear in linears}
            if len(smooths) > 1:
                self.faults.append(
                    f"layers.{layer}: {', '.join(together(self._family))} are one product: all of them int8 with equal "
                    "smooth, or none"
                )


def _arrays(part: Part) -> dict[str, np.ndarray]:
    """Kind of parameter -> array, as it is stored."""
    if isinstance(part, np.ndarray):
        return {"weight": part}
    if isinstance(part, NarrowTable):
        return {"weight": part.codes} | ({} if part.scale is None else {SCALE: part.scale})
    if isinstance(part, BFloat16Linear):
        return {"weight": part.bits, "bias": part.bias}
    if isinstance(part, Int8Linear):
        beside = {kind: x for kind, x in ((SMOOTH, part.smooth), (KEPT, part.kept)) if x is not None}
        return {"weight": part.codes, SCALE: part.scale, **beside, "bias": part.bias}
    return {"weight": part.weight, "bias": part.bias}


def _is_table(part: Part, words: Table) -> bool:
    """Whether a projection onto the vocabulary has the numbers of the words' table."""
    weight = part.weight if isinstance(part, Linear) else None
    if weight is not None:
        return weight is words or np.array_equal(weight, whole(words))
    projector, table = _arrays(part), {} if isinstance(words, np.ndarray) else _arrays(words)
    projector.pop("bias")
    return projector.keys() == table.keys() and all(np.array_equal(projector[kind], table[kind]) for kind in table)


def _smooth(part: Part | None) -> bytes | None:
    """What must be equal of what is one product."""
    if not isinstance(part, Int8Linear):
        return None
    return b"" if part.smooth is None else part.smooth.tobytes()
