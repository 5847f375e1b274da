"""What stands after the encoder in modules.json: modules that turn rows into rows, by the backend's operations.

Their names, files and formulas are those of sentence-transformers. Each computes a row from that row alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from minidistil.backends.protocol import Backend
from minidistil.sentences.files import SENTENCE, TOKENS, ModuleFile, SentenceFiles
from minidistil.sentences.pooling import normalize
from minidistil.weights import Checkpoint, CheckpointError, Linear, Norm
from minidistil.weights.errors import listing, quoted
from minidistil.weights.keys import Key, read_keys

# The classes of torch.nn that a config names, by the names of config.json's activations.
_ACTIVATIONS = {
    "Identity": "linear",
    "Tanh": "tanh",
    "ReLU": "relu",
    "ReLU6": "relu6",
    "GELU": "gelu",
    "SiLU": "silu",
    "Mish": "mish",
    "Sigmoid": "sigmoid",
}
_DENSE = {"bias": Key(("bias",), bool, True), "residual": Key(("use_residual",), bool, False)}
_LAYER_NORM_EPS = 1e-5  # of torch.nn.LayerNorm, which is what the module is; not configurable there


class Module(Protocol):
    """Turns rows float32 [M, D] into rows [M, N]."""

    def __call__(self, x: np.ndarray, backend: Backend) -> np.ndarray:
        """Return the rows that the module makes of `x`."""
        ...

    def width(self, before: int) -> int:
        """Return N for D; ValueError where the module does not take rows of that width."""
        ...


@dataclass(frozen=True)
class Dense:
    """activation(x W^T + b), plus x itself (or x W_r^T) where there is a residual."""

    linear: Linear
    activation: str
    residual: Linear | None = None
    residual_is_input: bool = False

    def __call__(self, x: np.ndarray, backend: Backend) -> np.ndarray:
        """Return float32 [M, N] for [M, K]."""
        y = backend.linear(x, self.linear)
        if self.activation != "linear":
            y = backend.activation(self.activation, y)
        if self.residual is not None:
            y = y + backend.linear(x, self.residual)
        return y + x if self.residual_is_input else y

    def width(self, before: int) -> int:
        """Return N; ValueError unless the rows are K wide."""
        outputs, inputs = self.linear.weight.shape
        if inputs != before:
            raise ValueError(f"takes rows of {inputs}, and {before} arrive")
        return int(outputs)


@dataclass(frozen=True)
class LayerNorm:
    """LayerNorm over each row."""

    norm: Norm

    def __call__(self, x: np.ndarray, backend: Backend) -> np.ndarray:
        """Return float32 [M, D]."""
        return backend.layer_norm(x, self.norm)

    def width(self, before: int) -> int:
        """Return D; ValueError where the parameters have another width."""
        if len(self.norm.weight) != before:
            raise ValueError(f"takes rows of {len(self.norm.weight)}, and {before} arrive")
        return before


@dataclass(frozen=True)
class Normalize:
    """Each row scaled to length 1."""

    def __call__(self, x: np.ndarray, backend: Backend) -> np.ndarray:
        """Return float32 [M, D]."""
        return normalize(x)

    def width(self, before: int) -> int:
        """Return D."""
        return before


@dataclass(frozen=True)
class LayerAverage:
    """WeightedLayerPooling: the weighted mean of what enters the first layer and what leaves each, from `start` on."""

    start: int
    weights: np.ndarray

    def __call__(self, hidden_states: Sequence[np.ndarray]) -> np.ndarray:
        """Return float32 [T, D] for L + 1 of them; products are added layer by layer, in float32."""
        total = hidden_states[self.start] * self.weights[0]
        for state, weight in zip(hidden_states[self.start + 1 :], self.weights[1:], strict=True):
            total += state * weight
        return total / np.add.reduce(self.weights)


@dataclass(frozen=True)
class Modules:
    """Everything after the encoder.

    Attributes:
        layers: the mean over layers that takes the last layer's place, or None.
        tokens: modules over the rows of the tokens, before the pooling.
        sentences: modules over the pooled rows.
        token_width: width of the tokens' rows.
        width: width of the sentences' rows.
    """

    layers: LayerAverage | None
    tokens: tuple[Module, ...]
    sentences: tuple[Module, ...]
    token_width: int
    width: int


def read_modules(files: SentenceFiles, dim: int, n_layers: int) -> Modules:
    """Read the weights of the modules, and see that each takes what the one before makes.

    Args:
        files: what modules.json says.
        dim: width of the encoder.
        n_layers: of the encoder.

    Raises:
        CheckpointError: files that are missing, damaged or contradict each other; lists every fault.
    """
    faults: list[str] = []
    layers: LayerAverage | None = None
    chains: dict[str, list[Module]] = {TOKENS: [], SENTENCE: []}
    widths = {TOKENS: dim}
    for file in files.modules:
        if file.kind == "Pooling":
            widths[SENTENCE] = widths[TOKENS] * len(files.pooling)
            continue
        try:
            if file.kind == "WeightedLayerPooling":
                layers = _read_layer_average(file, n_layers)
                continue
            module = _READERS[file.kind](file)
            widths[file.level] = module.width(widths[file.level])
            chains[file.level].append(module)
        except CheckpointError as error:
            faults += [f"{file.folder.name}: {fault}" for fault in error.faults]
        except ValueError as error:
            faults.append(f"{file.folder.name} ({file.kind}) {error}")
    if faults:
        raise CheckpointError(files.folder or "", faults)
    average = layers if files.all_layers else None  # as there: without all layers at hand, it lets rows pass
    width = widths.get(SENTENCE, widths[TOKENS] * len(files.pooling))
    return Modules(average, tuple(chains[TOKENS]), tuple(chains[SENTENCE]), widths[TOKENS], width)


def activation_name(path: Any) -> str:
    """The activation that a dotted name of a class of torch.nn stands for; ValueError where there is none."""
    name = str(path).rpartition(".")[2]
    if not isinstance(path, str) or not path.startswith("torch.") or name not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        raise ValueError(f"has the activation function {quoted(repr(path))}; minidistil has {known} of torch.nn")
    return _ACTIVATIONS[name]


def _read_dense(file: ModuleFile) -> Dense:
    stored = Checkpoint(file.folder)
    config, faults = stored.config, []
    activation = "tanh"
    try:
        activation = activation_name(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    except ValueError as error:
        faults.append(str(error))
    shape = (config.get("out_features"), config.get("in_features"))
    weight = _read(stored, "linear.weight", shape, faults)
    said = read_keys(_DENSE, config, "config.json", faults)
    if said.get("bias"):
        bias = _read(stored, "linear.bias", shape[:1], faults)
    else:
        bias = np.zeros(len(weight), np.float32)
    residual = None
    if said.get("residual") and shape[0] != shape[1]:
        matrix = _read(stored, "residual.weight", shape, faults)
        residual = Linear(matrix, np.zeros(len(matrix), np.float32))
    if faults:
        raise CheckpointError(file.folder, faults)
    return Dense(Linear(weight, bias), activation, residual, said["residual"] and residual is None)


def _read_layer_norm(file: ModuleFile) -> LayerNorm:
    stored, faults = Checkpoint(file.folder), list[str]()
    shape = (stored.config.get("dimension"),)
    weight, bias = (_read(stored, name, shape, faults) for name in ("norm.weight", "norm.bias"))
    if faults:
        raise CheckpointError(file.folder, faults)
    return LayerNorm(Norm(weight, bias, _LAYER_NORM_EPS))


def _read_layer_average(file: ModuleFile, n_layers: int) -> LayerAverage:
    stored, faults = Checkpoint(file.folder), list[str]()
    start = stored.config.get("layer_start", 4)
    if type(start) is not int or not 0 <= start <= n_layers:
        raise ValueError(f"has layer_start = {quoted(repr(start))}; the encoder has {n_layers} layers")
    weights = _read(stored, "layer_weights", (n_layers + 1 - start,), faults)
    if not faults and np.add.reduce(weights) == 0:
        faults.append("layer_weights sum to 0")
    if faults:
        raise CheckpointError(file.folder, faults)
    return LayerAverage(start, weights)


def _read_normalize(_: ModuleFile) -> Normalize:
    return Normalize()


_READERS: dict[str, Callable[[ModuleFile], Module]] = {
    "Dense": _read_dense,
    "LayerNorm": _read_layer_norm,
    "Normalize": _read_normalize,
}


def _read(stored: Checkpoint, name: str, shape: Sequence[Any], faults: list[str]) -> np.ndarray:
    """A tensor of that shape, finite; else a fault, and nothing."""
    if name not in stored.names:
        faults.append(f"{name} is missing; there are {listing(stored.names) or 'no tensors'}")
    elif stored.stored(name)[1] != tuple(shape):
        faults.append(f"{name} is {list(stored.stored(name)[1])}, and its config.json says {quoted(str(list(shape)))}")
    else:
        values = stored.read(name)
        if np.isfinite(values).all():
            return values
        faults.append(f"{name} holds values that are not finite")
    return np.zeros((0,) * len(shape), np.float32)
