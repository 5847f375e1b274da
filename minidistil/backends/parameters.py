"""The parameters of a model under training: one block of memory each for values, gradients and the two moments.

Where everything lies is said once, here: the optimizer, checkpoints of a run and the steps of the engine go by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from minidistil.weights.errors import listing
from minidistil.weights.families import FAMILIES
from minidistil.weights.model_weights import (
    AnyLinear,
    ClassifierWeights,
    EmbeddingWeights,
    EncoderWeights,
    LayerWeights,
    Linear,
    MaskedLMWeights,
    ModelWeights,
    Norm,
    whole,
)
from minidistil.weights.precision import precision_of

if TYPE_CHECKING:
    from minidistil.weights.config import Config

Task = Literal["masked_lm", "sequence_classification", "token_classification"]
"""The heads that can be trained, by the names of `ModelWeights`."""

TASKS: tuple[Task, ...] = get_args(Task)

ACTIVATIONS: Mapping[str, str] = MappingProxyType(
    {
        **{name: name for name in ("gelu", "relu", "gelu_new", "silu", "tanh", "linear")},
        "gelu_accurate": "gelu_new",
        "gelu_python_tanh": "gelu_new",
        "swish": "silu",
    }
)
"""Those with a backward pass, by every name in config.json; and the one name under which a backward pass knows it."""

LINE = 16  # floats of a cache line, 64 bytes


class Parameters:
    """Every parameter of a model under training, with its gradient and AdamW's two moments, each in one block.

    Names are those of `weights.model_weights.PARAMETERS`, with numbers for `{i}`; what is tied stands once, under the
    name of the embeddings. An array begins on a cache line; what lies between is zero and stays so.

    Attributes:
        task: the head that is trained; what else the weights had (a pooler, other heads) is left out.
        places: name -> position in a block, and shape; in the order of the forward pass.
        values, gradients, first, second: float32 [n], the blocks.

    Args:
        weights: the model to begin with, copied.
        task: its head.

    Raises:
        ValueError: the weights have no such head, or parts that cannot be trained.
    """

    def __init__(self, weights: ModelWeights, task: Task) -> None:
        if faults := _faults(weights, task):
            raise ValueError(_refusal(faults))
        given: dict[str, np.ndarray] = {}

        def note(name: str, array: np.ndarray) -> np.ndarray:
            return given.setdefault(name, array)

        form = _each(weights, task, note)
        places, end = {}, 0
        for name, array in given.items():
            places[name] = end, array.shape
            end += math.ceil(array.size / LINE) * LINE
        self.task: Task = task
        self.places: Mapping[str, tuple[int, tuple[int, ...]]] = MappingProxyType(places)
        self.values, self.gradients, self.first, self.second = (_zeros(end) for _ in range(4))
        for name, array in given.items():
            self.value(name)[...] = array
        self._weights = _each(form, task, lambda name, _: self.value(name))
        self._slopes = _each(form, task, lambda name, _: self.gradient(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def value(self, name: str) -> np.ndarray:
        """The parameter of this name, a view."""
        return self.view(self.values, name)

    def gradient(self, name: str) -> np.ndarray:
        """Its gradient, a view."""
        return self.view(self.gradients, name)

    def view(self, block: np.ndarray, name: str) -> np.ndarray:
        """What a block of n elements has in the place of a parameter, in its shape.

        Raises:
            ValueError: no such parameter.
        """
        if name not in self.places:
            raise ValueError(f"there is no parameter {name!r}; there are {listing(self.places)}")
        at, shape = self.places[name]
        return block[at : at + math.prod(shape)].reshape(shape)

    @property
    def outputs(self) -> int:
        """N, what the head says of each row: labels, or words of the vocabulary."""
        last = "masked_lm.vocab_projector" if self.task == "masked_lm" else f"{self.task}.output"
        return len(self.value(f"{last}.bias"))

    def decays(self, name: str) -> bool:
        """Whether AdamW lets it decay: not biases, and not LayerNorms."""
        return name.endswith(".weight") and not name.endswith("layer_norm.weight")

    def weights(self) -> ModelWeights:
        """The model as it is now: views of the block, which change with it."""
        return self._weights

    def weight_gradients(self) -> ModelWeights:
        """The gradients in the form of the model: views of their block, to add to."""
        return self._slopes


def check_trainable(config: Config, weights: ModelWeights, task: Task) -> None:
    """Whether there is a backward pass of a model.

    Args:
        config: the model's.
        weights: the model's, with the head that is to be trained.
        task: that head.

    Raises:
        ValueError: there is none; with everything that is in the way, and what can be trained.
    """
    faults = []
    if not FAMILIES[config.model_type].head_dropout:
        faults.append(f"the family {config.model_type} has no backward pass")
    faults += _faults(weights, task)
    used = {"the feed-forward's": config.activation}
    head = getattr(weights, task, None) if task in TASKS else None
    if isinstance(head, (MaskedLMWeights, ClassifierWeights)):
        used["the head's"] = head.activation
    for whose, activation in used.items():
        if activation not in ACTIVATIONS:
            faults.append(f"{whose} activation {activation!r} has no backward pass; {', '.join(ACTIVATIONS)} have")
    if faults:
        raise ValueError(_refusal(faults))


def _faults(weights: ModelWeights, task: Task) -> list[str]:
    """What in the weights stands in the way of training them."""
    faults = []
    encoder = weights.encoder
    if (precision := precision_of(weights)) != "float32":
        faults.append(f'the weights are {precision}: load the model with precision="float32"')
    if type(encoder.embeddings) is not EmbeddingWeights:
        faults.append("the embeddings are MobileBERT's")
    elif encoder.embeddings.projection is not None:
        faults.append("the embeddings are projected to the model's width (ALBERT's and ELECTRA's are)")
    if others := {type(layer).__name__ for layer in encoder.layers if type(layer) is not LayerWeights}:
        faults.append(f"the layers are no Transformer's with a norm behind each sum ({listing(sorted(others))})")
    if len({id(layer) for layer in encoder.layers}) < len(encoder.layers):
        faults.append("layers share their weights (ALBERT's do)")
    if task not in TASKS:
        faults.append(f"there is no task {task!r}; there are {', '.join(TASKS)}")
    elif getattr(weights, task) is None:
        faults.append(f"the weights have no {task} head: read them with it, or make a new one")
    elif weights.masked_lm is not None and task == "masked_lm" and weights.masked_lm.extension is not None:
        faults.append("the projection to the vocabulary is extended (MobileBERT's is)")
    return faults


def _refusal(faults: list[str]) -> str:
    families = ", ".join(name for name, family in FAMILIES.items() if family.head_dropout)
    return f"this model cannot be trained: {'; '.join(faults)}. Trained can be {families}, with a head of {TASKS}"


def _each(weights: ModelWeights, task: Task, array: Callable[[str, np.ndarray], np.ndarray]) -> ModelWeights:
    """The weights of the encoder and one head with another array in the place of each, in the forward pass's order.

    Args:
        weights: of what `_faults` has nothing against.
        task: the head.
        array: gives, for a parameter's name and array, the new one.
    """

    def linear(module: str, w: AnyLinear) -> Linear:
        return Linear(array(f"{module}.weight", w.weight), array(f"{module}.bias", w.bias))

    def norm(module: str, w: Norm) -> Norm:
        return Norm(array(f"{module}.weight", w.weight), array(f"{module}.bias", w.bias), w.eps)

    def layer(at: str, w: LayerWeights) -> LayerWeights:
        parts = {field.name: getattr(w, field.name) for field in fields(w)}
        make: dict[type, Callable] = {Linear: linear, Norm: norm}
        return LayerWeights(**{name: make[type(part)](f"{at}.{name}", part) for name, part in parts.items()})

    e = weights.encoder.embeddings
    assert isinstance(e, EmbeddingWeights)
    types = e.token_type_embeddings
    embeddings = EmbeddingWeights(
        array("embeddings.word_embeddings.weight", whole(e.word_embeddings)),
        array("embeddings.position_embeddings.weight", whole(e.position_embeddings)),
        None if types is None else array("embeddings.token_type_embeddings.weight", whole(types)),
        norm("embeddings.layer_norm", e.layer_norm),
    )
    layers = tuple(layer(f"layers.{i}", w) for i, w in enumerate(weights.encoder.layers) if isinstance(w, LayerWeights))
    encoder = EncoderWeights(embeddings, layers)
    if task == "token_classification" and weights.token_classification is not None:
        output = linear("token_classification.output", weights.token_classification)
        return ModelWeights(encoder, token_classification=output)
    if task == "sequence_classification" and (c := weights.sequence_classification) is not None:
        dense = None if c.dense is None else linear("sequence_classification.dense", c.dense)
        classifier = ClassifierWeights(dense, c.activation, linear("sequence_classification.output", c.output))
        return ModelWeights(encoder, sequence_classification=classifier)
    m = weights.masked_lm
    assert m is not None
    tied = m.vocab_projector.weight is e.word_embeddings
    transform = linear("masked_lm.vocab_transform", m.vocab_transform)
    layer_norm = norm("masked_lm.vocab_layer_norm", m.vocab_layer_norm)
    name = "masked_lm.vocab_projector"
    weight = whole(embeddings.word_embeddings) if tied else array(f"{name}.weight", m.vocab_projector.weight)
    projector = Linear(weight, array(f"{name}.bias", m.vocab_projector.bias))
    return ModelWeights(encoder, masked_lm=MaskedLMWeights(transform, layer_norm, projector, m.activation))


def _zeros(n: int) -> np.ndarray:
    """Zeros float32 [n] that begin on a cache line."""
    memory = np.zeros(n + LINE, np.float32)
    at = -memory.ctypes.data // 4 % LINE
    return memory[at : at + n]
