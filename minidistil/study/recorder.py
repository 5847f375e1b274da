"""A recorder over the reference: operations that name what goes through them, and may put other values in its place.

The reference's text knows nothing of it. An operation is known by the weights that it is given, which are the
recorder's own copies (of the small objects, not of their arrays), and a layer by how often there was an attention. What
the text does without an operation (look-ups, MobileBERT's norms) goes through weights that record: `_Table` and
`_Gain`. A sum is seen where it goes into its norm.

Legend as in the reference's model.py: `n` tokens of the one sentence, `D`, `E`, `H`, `F`, `V`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from minidistil.backends.reference import exact
from minidistil.backends.reference.operations import Operations
from minidistil.weights.model_weights import (
    AnyLinear,
    EmbeddingWeights,
    Linear,
    ModelWeights,
    NoNorm,
    Norm,
    Table,
)
from minidistil.weights.narrow import BFloat16Linear, Int8Linear, NarrowTable

Patch = np.ndarray | Callable[[np.ndarray], Any]
"""A value in the place of another: float32 of the same shape, or what makes one of it."""


@dataclass(frozen=True)
class Made:
    """How an intermediate was made.

    Attributes:
        kind: "product", "narrow product", "whole-number product", "whole-number product with kept columns",
            "layer norm", "gain and shift", "activation", "sum", "look-up", "scores", "softmax", "context", "trigrams"
            or "bias".
        of: the intermediates, by name, in the order in which they are added or used.
        weights: what else: a product's weights, a norm, a table, an activation's name, or None.
        weights_name: what that is called, or "".
        patched: whether another value was put in its place.
    """

    kind: str
    of: tuple[str, ...] = ()
    weights: Any = None
    weights_name: str = ""
    patched: bool = False


class Recording:
    """Operations over others, for one pass over one sentence.

    Args:
        weights: the model's.
        patches: by name, what to put in an intermediate's place.
        before: intermediates of a pass over the same sentence, which stand for being computed up to the first patch.
        ops: what computes, with the bits of `exact`.

    Attributes:
        weights: what the reference is to be made of: the given ones, watched.
        values: the intermediates by name, in the order in which they were made.
        made: how, by the same names.
    """

    def __init__(
        self,
        weights: ModelWeights,
        patches: Mapping[str, Patch] | None = None,
        before: Mapping[str, np.ndarray] | None = None,
        ops: Operations = exact,
    ) -> None:
        self.values: dict[str, np.ndarray] = {}
        self.made: dict[str, Made] = {}
        self._ops = ops
        self._patches = patches or {}
        self._before = before
        self._names: dict[int, str] = {}  # of arrays in `values`, by identity
        self._operands: dict[int, _Operand] = {}  # weights by the identity of their copies
        self._copies: list[Any] = []  # as long as their identities say what they are
        self._attended = 0
        self._layer = -1
        self._entering = self._narrowed = ""  # what enters the layer, and its attention
        self.weights = self._watch_model(weights)

    # What the reference asks for.

    def embed(
        self,
        weights: EmbeddingWeights,
        input_ids: np.ndarray | None,
        position_ids: np.ndarray,
        token_type_ids: np.ndarray | None,
        inputs_embeds: np.ndarray | None,
    ) -> np.ndarray:
        """The sum of a token's embeddings: [n] -> [n, E]."""
        total = exact.embed(weights, input_ids, position_ids, token_type_ids, inputs_embeds)
        parts = ("embeddings.word", "embeddings.token_type", "embeddings.position")
        return self._put("embeddings.sum", Made("sum", tuple(p for p in parts if p in self.values)), lambda: total)

    def linear(self, x: np.ndarray, w: AnyLinear) -> np.ndarray:
        """x W^T + b: [M, K] -> [M, N]."""
        kind = "product"
        if isinstance(w, Int8Linear):
            kind = "whole-number product" if w.kept is None else "whole-number product with kept columns"
        return self._linear(x, w, kind, self._ops.linear)

    def narrow(self, x: np.ndarray, w: AnyLinear) -> np.ndarray:
        """The same of few columns: [M, K] -> [M, N]."""
        return self._linear(x, w, "narrow product", self._ops.narrow)

    def product(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """x w^T, of the vocabulary's extended projection alone: [M, K] -> [M, N]."""
        name = "masked_lm.product"
        made = Made("product", (self._names[id(x)],), w, "masked_lm.vocab_projector")
        return self._put(name, made, lambda: self._ops.product(x, w))

    def layer_norm(self, x: np.ndarray, w: Norm) -> np.ndarray:
        """(x - mean) / sqrt(var + eps) * gamma + beta: [M, D] -> [M, D]."""
        name, own, _ = self._known_as(w)
        x = self._sum(x, name)
        made = Made("layer norm", (self._names[id(x)],), own, name)
        return self._put(name, made, lambda: self._ops.layer_norm(x, own))

    def activation(self, name: str, x: np.ndarray) -> np.ndarray:
        """The activation that config.json calls `name`: any shape."""
        of = self._names[id(x)]
        made = Made("activation", (of,), name, name)
        at = self.head if id(x) == id(self._rows) else of.rpartition(".")[0] or of
        return self._put(f"{at}.{name}", made, lambda: self._ops.activation(name, x))

    def attention(
        self, q: np.ndarray, k: np.ndarray, v: np.ndarray, bias: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """softmax(q k^T / sqrt(d) + bias) v: [n, H, d] three times -> [n, H, d], and the softmax [H, n, n]."""
        n, heads, d = q.shape
        at = f"layer.{self._attended}.attention."
        self._attended += 1

        def scored() -> np.ndarray:
            scale = np.float32(1 / math.sqrt(d))
            return np.stack([exact.product(q[:, h], k[:, h]) * scale for h in range(heads)])

        def attended(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            if self.made[f"{at}scores"].patched:  # in the place of a bias, queries of zeros leave it as it is
                return self._ops.attention(np.zeros_like(q), k, v, scores)
            return self._ops.attention(q, k, v)

        scores = self._put(f"{at}scores", Made("scores", (f"{at}q_lin", f"{at}k_lin")), scored)
        found = attended(scores) if self._before is None else None
        made = Made("softmax", (f"{at}scores",))
        probabilities = self._put(f"{at}probabilities", made, lambda: found[1])  # type: ignore[index]

        def mixed() -> np.ndarray:
            if found is not None and not self.made[f"{at}probabilities"].patched:
                return found[0].reshape(n, -1)
            edges = context_edges(n)
            rows = [exact.product(p, np.ascontiguousarray(v[:, h].T), edges) for h, p in enumerate(probabilities)]
            return np.stack(rows, axis=1).reshape(n, -1)

        made = Made("context", (f"{at}probabilities", f"{at}v_lin", f"{at}scores"))
        context = self._put(f"{at}context", made, mixed)
        return context.reshape(n, heads, d), probabilities

    # What stands on top of the encoder.

    head = ""
    _rows: np.ndarray | None = None

    def reads(self, rows: np.ndarray, head: str) -> None:
        """Be told that a head is about to read rows of the last hidden states, float32 [R, D], copies of them."""
        self.head, self._rows = head, rows
        self._names[id(rows)] = self.last

    @property
    def last(self) -> str:
        """The name of the last hidden states."""
        own = f"layer.{self._attended - 1}."
        return [name for name in self.values if name.startswith(own) and name.endswith(_ENDS)][-1]

    def conclude(self, name: str, x: np.ndarray, made: Made) -> np.ndarray:
        """Record what a head makes of its last product without an operation."""
        return self._put(name, made, lambda: x)

    # Helpers

    def _linear(self, x: np.ndarray, w: AnyLinear, kind: str, compute: Callable[..., np.ndarray]) -> np.ndarray:
        name, own, weights_name = self._known_as(w)
        if name.endswith("attention.out_lin"):
            of = name.replace("out_lin", "context")  # of which the reference has made a copy
        elif id(x) in self._names:
            of = self._names[id(x)]
        else:  # MobileBERT's words beside their neighbours
            of = "embeddings.trigrams"
            x = self._put(of, Made("trigrams", ("embeddings.word",)), lambda given=x: given)  # type: ignore[misc]
        if name.startswith(f"layer.{self._attended}.") and self._layer != self._attended:
            self._layer = self._attended
            self._entering = self._narrowed = of
        return self._put(name, Made(kind, (of,), own, weights_name), lambda: compute(x, own))

    def _sum(self, x: np.ndarray, norm: str) -> np.ndarray:
        """What goes into a norm: recorded, where it is the sum of two intermediates rather than one of them."""
        if id(x) in self._names:
            return x
        at, _, part = norm.rpartition(".")
        if norm == "embeddings.layer_norm":
            words = [name for name in ("embeddings.projection", "embeddings.word") if name in self.values]
            of = (words[0], "embeddings.position", "embeddings.token_type")
            return self._put("embeddings.sum", Made("sum", of), lambda: x)
        at, last = {
            "sa_layer_norm": (f"{at}.attention", "out_lin"),
            "output_layer_norm": (f"{at}.ffn", "lin2"),
            "norm": (at, "linear" if at.endswith("bottleneck") else "lin2"),
        }[part]
        residual = self._narrowed if last == "out_lin" else self._entering
        beside = self.made[f"{at}.lin1"].of[0] if last == "lin2" else residual
        return self._put(f"{at}.sum", Made("sum", (f"{at}.{last}", beside)), lambda: x)

    def _put(self, name: str, made: Made, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Keep an intermediate under its name, patched where that is asked for; returns what stands there."""
        known = None if self._before is None else self._before.get(name)
        value = np.ascontiguousarray(compute() if known is None else known, np.float32)
        if name in self._patches:
            self._before = None  # from here on everything is computed
            value = patched(name, value, self._patches[name])
            made = replace(made, patched=True)
        if id(value) in self._names:  # an activation that does nothing
            value = value.copy()
        self.values[name], self.made[name] = value, made
        self._names[id(value)] = name
        if name.endswith("input_bottleneck.norm"):
            self._narrowed = name
        return value

    def _known_as(self, w: Any) -> tuple[str, Any, str]:
        """What a copy of weights makes here, the weights themselves, and what those are called."""
        place, own, called = self._operands[id(w)]
        return self._here(place), own, self._here(called)

    def _here(self, place: str) -> str:
        """A place in the weights as a name: with the number of the layer that is being computed."""
        return place.replace("{}", str(self._attended - any(part in place for part in _AFTER_ATTENTION)))

    def _watch_model(self, weights: ModelWeights) -> ModelWeights:
        encoder = weights.encoder
        embeddings = self._watch(encoder.embeddings, "embeddings", _EMBEDDINGS)
        layers = tuple(self._watch(layer, "layer.{}", _LAYER) for layer in encoder.layers)
        changes: dict[str, Any] = {"encoder": replace(encoder, embeddings=embeddings, layers=layers)}
        for field in fields(weights):
            part = getattr(weights, field.name)
            if field.name == "encoder" or part is None:
                continue
            if isinstance(part, Linear):
                changes[field.name] = self._copy(part, "pooler" if field.name == "pooler" else "logits", field.name)
            else:
                changes[field.name] = self._watch(part, field.name, {})
        return replace(weights, **changes)

    def _watch(self, part: Any, at: str, names: Mapping[str, str]) -> Any:
        """A part of the weights whose operands the recorder knows; `names` are those that they go by below `at`."""
        changes: dict[str, Any] = {}
        for field in fields(part):
            value, place = getattr(part, field.name), f"{at}.{names.get(field.name, field.name)}"
            if isinstance(value, (*_PRODUCTS, Norm, NoNorm)):
                changes[field.name] = self._copy(value, "logits" if field.name in _LAST else place, place)
            elif isinstance(value, tuple):
                changes[field.name] = tuple(self._watch(one, f"{place}.{i}", {}) for i, one in enumerate(value))
            elif isinstance(value, (np.ndarray, NarrowTable)) and field.name in _EMBEDDINGS:
                changes[field.name] = _Table(self, value, place, f"{at}.{field.name}")
            elif is_dataclass(value):
                changes[field.name] = self._watch(value, place, {})
        return replace(part, **changes)

    def _copy(self, w: Any, place: str, called: str) -> Any:
        gained = isinstance(w, NoNorm)
        own: Any = NoNorm(_Gain(self, w, place), w.bias) if gained else replace(w)  # type: ignore[arg-type]
        self._operands[id(own)] = _Operand(place, w, called)
        self._copies.append(own)
        return own


def patched(name: str, value: np.ndarray, patch: Patch) -> np.ndarray:
    """What a patch puts in the place of an intermediate.

    Raises:
        TypeError: what is no array of floats.
        ValueError: another shape.
    """
    found = patch(value.copy()) if callable(patch) else patch
    try:
        array = np.array(found, np.float32, order="C")
    except (TypeError, ValueError):
        raise TypeError(f"the patch of {name} must be floats {list(value.shape)}, got {type(found).__name__}") from None
    if array.shape != value.shape:
        raise ValueError(f"the patch of {name} must have its shape {list(value.shape)}, got {list(array.shape)}")
    return array


def context_edges(n: int) -> list[int]:
    """The blocks in which `exact.attention` sums the n terms of a context: those of the padded sentence, cut short."""
    return [min(edge, n) for edge in exact.blocks(-(-n // 16) * 16)]


class _Operand(NamedTuple):
    """Weights, the name of what they make, and what they are called; {} counts layers."""

    makes: str
    weights: Any
    called: str


class _Table:
    """A table of embeddings in the place of its array: rows that are looked up are recorded."""

    def __init__(self, recording: Recording, table: Table, name: str, called: str) -> None:
        self._recording, self._table, self._name, self._called = recording, table, name, called
        self.shape = table.shape

    def __getitem__(self, ids: np.ndarray) -> np.ndarray:
        made = Made("look-up", (), self._table, self._called)
        return self._recording._put(self._name, made, lambda: self._table[ids])


class _Gain:
    """MobileBERT's gain in the place of its array: x * gain + shift is recorded."""

    __array_ufunc__ = None  # a product with an array comes here

    def __init__(self, recording: Recording, w: NoNorm, place: str) -> None:
        self._recording, self._w, self._place = recording, w, place

    def __rmul__(self, x: np.ndarray) -> _Gained:
        return _Gained(self._recording, self._w, self._recording._here(self._place), x)


class _Gained:
    """x * gain, which waits for its shift."""

    def __init__(self, recording: Recording, w: NoNorm, name: str, x: np.ndarray) -> None:
        self._recording, self._w, self._name, self._x = recording, w, name, x

    def __add__(self, shift: np.ndarray) -> np.ndarray:
        own, w = self._recording, self._w
        x = own._sum(self._x, self._name)
        made = Made("gain and shift", (own._names[id(x)],), w, self._name)
        return own._put(self._name, made, lambda: x * w.weight + shift)


_PRODUCTS = (Linear, BFloat16Linear, Int8Linear)
_AFTER_ATTENTION = ("out_lin", "sa_layer_norm", ".ffn", "output_layer_norm", "output_bottleneck")
_ENDS = ("output_layer_norm", ".norm")
_LAST = ("output", "vocab_projector")  # of a head, whose results are the logits
_EMBEDDINGS = {
    "word_embeddings": "word",
    "position_embeddings": "position",
    "token_type_embeddings": "token_type",
}
_LAYER = {
    **{name: f"attention.{name}" for name in ("q_lin", "k_lin", "v_lin", "out_lin")},
    **{name: f"ffn.{name}" for name in ("lin1", "lin2")},
    "feed_forwards": "ffn",
}
