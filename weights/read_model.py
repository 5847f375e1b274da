"""From an opened checkpoint to checked weights: every parameter there, of the right shape, finite; ties resolved."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Collection

import numpy as np

from minidistil.weights import config_values, limits
from minidistil.weights._assemble import assemble
from minidistil.weights._names import StoredNames
from minidistil.weights._storage import READABLE, count_nonfinite, release_pages
from minidistil.weights.checkpoint import Checkpoint
from minidistil.weights.conversion import in_precision
from minidistil.weights.errors import CheckpointError, listing, quoted, shape_text
from minidistil.weights.families import TASKS, TIES, Family
from minidistil.weights.model_weights import ModelWeights, Table
from minidistil.weights.named import size_of, sized
from minidistil.weights.narrow import NarrowTable, count_nonfinite_bits
from minidistil.weights.precision import check_precision
from minidistil.weights.quantized_tensors import SCALE, QuantizedTensors, is_matrix, is_narrow

HEADS = ("pooler", *dict.fromkeys(TASKS.values()))


def read_model(
    checkpoint: Checkpoint,
    heads: Collection[str] | None = None,
    *,
    check_finite: bool = True,
    precision: str | None = None,
) -> ModelWeights:
    """Read and check the weights of a model.

    Args:
        checkpoint: an opened checkpoint of a supported family.
        heads: of HEADS, those that must be there; no other is read, except a pooler, which is part of the base model
            and read wherever it is. None: read what the checkpoint has, of the heads that go by the same names
            ("classifier" is three of them) the one that config.json names in architectures.
        check_finite: whether to look for NaN and infinity, in one pass over the weights.
        precision: of PRECISIONS; None for int8 where config.json's quantization_config says so, else float32.

    Returns:
        Arrays, C-contiguous and read-only, views of the file where it stores what they are in memory. A tied projection
        is the array of the word embeddings itself.

    Raises:
        CheckpointError: listing every fault of config.json and of the tensors.
        ValueError: a head or a precision that does not exist, or a precision that such a model cannot have.
    """
    check_precision(precision)
    unknown = sorted(set(heads or ()) - set(HEADS))
    if unknown:
        raise ValueError(f"unknown heads {', '.join(map(repr, unknown))}; there are {', '.join(HEADS)}")
    faults: list[str] = []
    family = config_values.family_of(checkpoint.config, faults)
    if family is None:
        raise CheckpointError(checkpoint.folder, faults)
    reading = _Reading(checkpoint, family, faults, bits=precision == "bfloat16")
    parts = reading.parts(heads)
    arrays = reading.arrays(parts, check_finite)
    if faults:
        raise CheckpointError(checkpoint.folder, faults)
    for warning in reading.warnings:
        warnings.warn(f"{checkpoint.folder}: {warning}", stacklevel=2)
    return in_precision(assemble(arrays, reading.values, parts, reading.family), precision)


def heads_of(checkpoint: Checkpoint) -> list[str]:
    """Return the heads of HEADS that a checkpoint has, the pooler left out; nothing is read but names.

    Of heads that go by the same names ("classifier" is three of them) it is the one that config.json names in
    architectures, or each of them where it names none.

    Raises:
        CheckpointError: a config.json of no supported family, or one that contradicts itself.
    """
    faults: list[str] = []
    family = config_values.family_of(checkpoint.config, faults)
    reading = None if family is None else _Reading(checkpoint, family, faults)
    if reading is None or faults:
        raise CheckpointError(checkpoint.folder, faults)
    return [
        head for head in HEADS[1:] if reading.has(head) and not (reading.rivals(head) and head not in reading.named)
    ]


class _Reading:
    """One pass over a checkpoint that notes every fault and goes on."""

    def __init__(self, checkpoint: Checkpoint, family: Family, faults: list[str], bits: bool = False) -> None:
        self.checkpoint = checkpoint
        self.bits = bits  # whether BF16 is kept
        self.faults = faults
        self.warnings: list[str] = []
        self.values = config_values.parse(family, checkpoint.config, faults)
        before = len(faults)
        self.labels = config_values.labels(checkpoint.config, faults)
        self.values["num_labels"] = len(self.labels) if len(faults) == before else None
        self.family = family = family.of(self.values)
        self.names = StoredNames(family, checkpoint.names, self.values.get("group_layers", 1))
        self.stored_layers = config_values.stored_layers(self.values)
        self.architectures = config_values.architectures(checkpoint.config)
        self.named = {head for end, head in TASKS.items() if any(name.endswith(end) for name in self.architectures)}

    def has(self, head: str) -> bool:
        """Whether tensors of the head are there; what it shares with the pooler does not say so."""
        own = [name for name in self.names.parameters(head) if name not in TIES]
        return any(self.names.find(name) for name in own if not name.startswith(f"{head}.dense."))

    def rivals(self, head: str) -> list[str]:
        """The heads that config.json names in architectures and whose tensors have the names of this one's."""
        modules = self.family.modules
        mine = modules.get(f"{head}.output")
        others = sorted(self.named - {head})
        return [other for other in others if mine is not None and modules.get(f"{other}.output") == mine]

    def parts(self, heads: Collection[str] | None) -> list[str]:
        """The parts to read: the encoder, and the heads that are wanted."""
        parts = ["embeddings", "layers"]
        for head in HEADS:
            there = self.has(head)
            if heads is not None and head in heads:
                if not set(self.names.parameters(head)) - set(TIES):
                    self.faults.append(f"a {self.family.model_type} model has no {head}")
                    continue
                if not there and head != "pooler":
                    saved = f"; it was saved as {listing(self.architectures)}" if self.architectures else ""
                    self.faults.append(f"the checkpoint has no {head} head{saved}")
                self._warn_of_another(head)
                parts.append(head)
            elif there and (head == "pooler" or (heads is None and (head == "masked_lm" or head in self.named))):
                parts.append(head)
        for head in parts:
            self._check_head(head)
        return parts

    def _check_head(self, head: str) -> None:
        """What of config.json only those need who read this head."""
        for number, accepted in self.family.head_only.get(head, {}).items():
            if number in self.values and self.values[number] not in accepted:
                found, choices = quoted(self.values[number]), ", ".join(name for name in accepted if name)
                self.faults.append(f"config.json: {self._key(number)} = {found} is not supported; expected {choices}")
        output = f"{head}.output"
        labelled = output in self.family.modules and "num_labels" in self.family.parameters(output)["bias"]
        missing = config_values.unlabelled(self.labels) if labelled else []
        if missing:
            self.faults.append(
                f"config.json: id2label must number its {len(self.labels)} labels from 0 to {len(self.labels) - 1}; "
                f"it lacks {listing(map(str, missing))}"
            )

    def _warn_of_another(self, head: str) -> None:
        """Say where a head is about to be read that was trained as another one of the same name."""
        for other in self.rivals(head):
            self.warnings.append(
                f"{self.family.modules[f'{head}.output']} is read as the {head} head; by config.json's architectures "
                f"({listing(self.architectures)}) it is one for {other}"
            )

    def arrays(self, parts: list[str], check_finite: bool) -> dict[str, Table]:
        """Canonical parameter -> array, of all that could be read."""
        found, missing = self._find(self._parameters(parts))
        self._check_shapes(found)
        quantized = QuantizedTensors(self.checkpoint, self.family, self.names, self.faults, self._tied_by_config())
        arrays = quantized.read(found, missing)
        for parameter, stored in found.items():  # a misshapen tensor too: all faults are to be found at once
            dtype, _ = self.checkpoint.stored(stored)
            matrix = is_matrix(self.family, parameter)
            if self.bits and dtype == "BF16" and matrix and is_narrow(parameter.removesuffix(".weight")):
                arrays[parameter] = NarrowTable(self.checkpoint.read_bits(stored))
            elif dtype in READABLE:
                arrays[parameter] = self.checkpoint.read(stored)
            elif dtype != "I8" or not matrix:  # else read above
                self.faults.append(
                    f"{quoted(stored)} is stored as {dtype}; weights are read from {', '.join(READABLE)}"
                )
        if check_finite:
            self._check_finite(arrays, found)
        self._tie(arrays, missing)
        self._compute_positions(arrays, missing)
        if missing:
            names = listing(self.names.expected(parameter) for parameter in missing)
            self.faults.append(f"missing tensors ({len(missing)}): {names}")
        unexpected = self.names.unexpected(self.stored_layers, incomplete=bool(missing))
        if unexpected:
            self.faults.append(f"unexpected tensors ({len(unexpected)}): {listing(unexpected)}")
        for one, other in self.names.ambiguous:
            self.faults.append(f"{quoted(one)} and {quoted(other)} are the same parameter")
        return arrays

    def _parameters(self, parts: list[str]) -> list[str]:
        """Parameters of the parts; of the layers that are there, as the number of layers is a fault of its own."""
        stored, n_layers = self.names.layers, self.stored_layers
        if n_layers is not None and (len(stored) != n_layers or max(stored) != n_layers - 1):
            number = "n_groups" if "n_groups" in self.family.keys else "n_layers"
            key = config_values.key_name(self.family, number, self.checkpoint.config)
            within = self.values.get("group_layers", 1)
            of = f" of {within} layers" if within > 1 else ""
            self.faults.append(
                f"config.json: {key} = {n_layers // within}{of}, but the tensors say {self.names.layer_range()}"
            )
        applied = self.values.get("n_layers", 0)
        if "n_groups" in self.family.keys and applied > limits.SHARED_LAYERS:
            key = config_values.key_name(self.family, "n_layers", self.checkpoint.config)
            self.faults.append(f"config.json: {key} applies {applied} layers, more than {limits.SHARED_LAYERS}")
        layers = sorted(layer for layer in stored if n_layers is None or layer < n_layers)
        asked = len(layers) * len(self.names.parameters("layers", 0))
        if asked > limits.TENSORS:  # a few empty tensors can name any number of layers
            self.faults.append(f"{len(layers)} layers take {asked} tensors; {limits.TENSORS} are the most accepted")
            layers = []
        return [
            parameter
            for part in parts
            for layer in (layers if part == "layers" else [None])
            for parameter in self.names.parameters(part, layer)
            if not (parameter.startswith("embeddings.projection.") and self._without_projection())
        ]

    def _without_projection(self) -> bool:
        widths = self.values.get("embedding_size"), self.values.get("dim")
        return self.family.projects_other_widths_only and widths[0] == widths[1]

    def _find(self, parameters: list[str]) -> tuple[dict[str, str], list[str]]:
        """Canonical parameter -> stored tensor, and the parameters that have none."""
        found, missing = {}, []
        for parameter in parameters:
            stored = self.names.find(parameter)
            if stored:
                found[parameter] = stored[0]
            else:
                missing.append(parameter)
            for other in stored[1:]:
                if self._tied_by_config() and not self._equal(stored[0], other):
                    self.warnings.append(f"{stored[0]} and {other} should be equal and differ; {stored[0]} is used")
        for tied, source in TIES.items():  # the pair may be stored under the name of a head that is not wanted
            if source in missing and tied not in found and self._tied_by_config() and self.names.find(tied):
                found[source] = self.names.find(tied)[0]
                missing.remove(source)
        return found, missing

    def _tied_by_config(self) -> bool:
        return bool(self.values.get("tie_word_embeddings", True))

    def _equal(self, one: str, other: str) -> bool:
        if self.checkpoint.same_storage(one, other):
            return True
        stored = self.checkpoint.stored(one), self.checkpoint.stored(other)
        if stored[0][1] != stored[1][1]:
            return False
        if all(dtype == "I8" for dtype, _ in stored):
            scales = [f"{name.rpartition('.')[0]}.{SCALE}" for name in (one, other)]
            codes, others = (self.checkpoint.read_stored(name) for name in (one, other))
            scaled = all(scale in self.checkpoint.names for scale in scales)
            return scaled and np.array_equal(codes, others) and self._equal(*scales)
        if not all(dtype in READABLE for dtype, _ in stored):
            return False
        first, second = (self.checkpoint.read(name).view(np.uint32) for name in (one, other))
        return np.array_equal(first, second)

    def _tie(self, arrays: dict[str, Table], missing: list[str]) -> None:
        if not self._tied_by_config():
            return
        for tied, source in TIES.items():
            if tied in missing and source not in missing:
                missing.remove(tied)
                if source in arrays:  # else faulty
                    arrays[tied] = arrays[source]
            elif source in missing and tied in arrays:
                missing.remove(source)
                arrays[source] = arrays[tied]
            elif tied in arrays and source in arrays:
                names = [self.names.find(parameter)[0] for parameter in (tied, source)]
                if self._equal(*names):
                    arrays[tied] = arrays[source]
                else:
                    self.warnings.append(
                        f"{names[0]} and {names[1]} should be equal and differ; both are used as stored"
                    )

    def _compute_positions(self, arrays: dict[str, Table], missing: list[str]) -> None:
        name, key = "embeddings.position_embeddings.weight", self.family.sinusoidal
        positions, dim = self.values.get("max_position_embeddings", 0), self.values.get("dim", 0)
        if name in missing and key and self.checkpoint.config.get(key) is True:
            missing.remove(name)
            if positions * dim > limits.COMPUTED_POSITIONS:
                self.faults.append(
                    f"config.json: {key} asks for a position table of {shape_text((positions, dim))}, which no tensor "
                    f"confirms; {limits.COMPUTED_POSITIONS} elements are the most computed"
                )
            if not self.faults:  # else the numbers may be the faulty ones
                arrays[name] = sinusoidal_positions(positions, dim)

    def _check_shapes(self, found: dict[str, str]) -> None:
        """Shapes against config.json. A number of it that all tensors contradict is one fault, not hundreds."""
        # number -> size -> tensors, an ordered set
        said: dict[str, dict[int, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
        shapes: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {}
        for parameter, stored in found.items():
            shape, numbers = self.checkpoint.stored(stored)[1], sized(self.family, parameter)
            shapes[stored] = shape, numbers
            if len(shape) == len(numbers):
                for size, number in zip(shape, numbers, strict=True):
                    said[number][size][stored] = None
        contradicted = {
            number: next(iter(sizes))
            for number, sizes in said.items()
            if len(sizes) == 1 and self.values.get(number) is not None and next(iter(sizes)) != self.values[number]
        }
        for number, size in contradicted.items():
            first, *others = said[number][size]
            more = f" and {len(others)} more" if others else ""
            self.faults.append(
                f"config.json: {self._key(number)} = {self.values[number]}, but the tensors say {size}: "
                f"{quoted(first)} is {shape_text(shapes[first][0])}{more}"
            )
        believed = {**self.values, **contradicted}
        for stored, (shape, numbers) in shapes.items():
            expected = [size_of(number, believed) for number in numbers]
            fits = len(shape) == len(expected) and all(
                n is None or n == size for size, n in zip(shape, expected, strict=True)
            )
            if not fits:
                sizes = shape_text("?" if n is None else n for n in expected)  # type: ignore[misc]
                meaning = ", ".join(self._key(n) for n in numbers if not n.isdecimal())
                self.faults.append(f"{quoted(stored)} is {shape_text(shape)}, expected {sizes} ({meaning})")

    def _key(self, number: str) -> str:
        if number == "num_labels" and self.checkpoint.config.get("id2label") is not None:
            return "labels in id2label"
        if " " in number:  # a sum or a product of two
            return " ".join(self._key(part) for part in number.split())
        if number not in self.family.keys:
            return number
        return config_values.key_name(self.family, number, self.checkpoint.config)

    def _check_finite(self, arrays: dict[str, Table], found: dict[str, str]) -> None:
        counts = {}
        for parameter, array in arrays.items():
            if isinstance(array, np.ndarray) and parameter in found:
                counts[found[parameter]] = count_nonfinite(array), array.size
            elif isinstance(array, NarrowTable) and array.scale is None:
                counts[found[parameter]] = count_nonfinite_bits(array.codes), array.size
            else:  # of whole numbers any is one, and their scales have been looked at
                continue
            # Or the whole file would stay in memory beside what is made of it.
            release_pages(array if isinstance(array, np.ndarray) else array.codes)
        bad = [f"{quoted(name)} ({bad} of {size} values)" for name, (bad, size) in counts.items() if bad]
        if bad:
            self.faults.append(f"NaN or infinity in {len(bad)} tensors: {', '.join(bad)}")


def sinusoidal_positions(positions: int, dim: int) -> np.ndarray:
    """The position table float32 [P, D] of a DistilBERT with `sinusoidal_pos_embds` that does not store it.

    Angle p / 10000^(2 (j // 2) / D), its sine at even j, its cosine at odd j; computed in float64 as transformers does.
    """
    columns = np.arange(dim)
    angles = np.arange(positions)[:, None] / np.power(10000, 2 * (columns // 2) / dim)
    table = np.where(columns % 2 == 0, np.sin(angles), np.cos(angles)).astype(np.float32)
    table.flags.writeable = False
    return table
