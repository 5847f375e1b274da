"""Every intermediate of one pass over one text, by the names of the checkpoint; and the pass again with one changed.

    found = trace(model, "Paris is the capital of [MASK].")
    found["layer.3.attention.scores"]               # float32 [H, n, n], what the softmax reads
    found.patched({"layer.3.attention.context": 0 * found["layer.3.attention.context"]})["logits"]

Legend: `n` tokens, `E` embedding width, `D` width, `I` the heads' width together, `H` heads, `F` feed-forward width,
`V` vocabulary, `N` labels, `R` rows that the head reads.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from minidistil._float_mode import default_mode
from minidistil._loading import loading
from minidistil.backends.batch import PackedBatch
from minidistil.backends.reference import Reference, exact
from minidistil.backends.reference.operations import Operations
from minidistil.models import heads
from minidistil.models.base import Model, first_tokens
from minidistil.models.inputs import pack_sentences
from minidistil.study.recorder import Made, Patch, Recording
from minidistil.tokenization import input_limit
from minidistil.weights.model_weights import AnyLinear, Linear, ModelWeights
from minidistil.weights.narrow import BFloat16Linear, Int8Linear

if TYPE_CHECKING:
    from tokenizers import Encoding


class Trace(Mapping[str, np.ndarray]):
    """The intermediates of a pass, in the order in which they were made; float32, read-only.

    Attributes:
        model: whose pass it was.
        encoding: the text's tokens, as the tokenizers library has them.
        batch: the tokens, as a backend takes them.
        made: how each intermediate was made.
        head: the head's name in the weights, "pooler", or "".
    """

    def __init__(self, model: Model[Any], encoding: Encoding, batch: PackedBatch, run: _Run, recording: Recording):
        self.model, self.encoding, self.batch = model, encoding, batch
        self.made: Mapping[str, Made] = recording.made
        self.head = recording.head
        self.last = recording.last
        self._run = run
        self._values = recording.values
        for value in self._values.values():
            value.flags.writeable = False

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            return self._values[name]
        except KeyError:
            raise KeyError(_unknown([name], self._values)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each intermediate, by its name."""
        return {name: value.shape for name, value in self.items()}

    @property
    def hidden_states(self) -> tuple[str, ...]:
        """The names of what enters the first layer and of what leaves each."""
        first = next(name for name in reversed(list(self)) if name.startswith("embeddings."))
        ends = {name.split(".")[1]: name for name in self if name.startswith("layer.")}  # the last of each
        return (first, *ends.values())

    def describe(self, name: str) -> str:
        """Say in a sentence what an intermediate is, with its shape."""
        value, made = self[name], self.made[name]
        of = " and ".join(made.of)
        said = _KINDS[made.kind].format(of=of, weights=made.weights_name)
        patched = " Another value was put in its place." if made.patched else ""
        return f"{name} {list(value.shape)}: {said}.{patched}"

    def patched(self, patches: Mapping[str, Patch]) -> Trace:
        """Run on from the first of some intermediates with other values in their places.

        Args:
            patches: by name, an array of the same shape, or a function that makes one of what stands there.

        Returns:
            The new pass; what was made before the first of them stands in it as it was.

        Raises:
            KeyError: a name that the pass does not have.
            TypeError, ValueError: what is no array of floats, or has another shape.
        """
        if unknown := [name for name in patches if name not in self._values]:
            raise KeyError(_unknown(unknown, self._values))
        return self._run.again(self.model, self.encoding, self.batch, patches, self._values)

    def __repr__(self) -> str:
        return f"Trace({type(self.model).__name__}, {self.batch.tokens} tokens, {len(self)} intermediates)"


def trace(model: Any, text: str, text2: str | None = None, *, patch: Mapping[str, Patch] | None = None) -> Trace:
    """Run a model over a text and keep every intermediate by its name.

    The numbers have the bits of the model's own results: they are computed by the exact reference, the products of a
    model on the engine by that.

    Args:
        model: any model of minidistil's that was loaded from a folder, or that runs on `backend="exact"`; or what
            stands on one (a `SentenceEncoder`).
        text: one text, which must be as short as the model takes.
        text2: the second text of a pair.
        patch: by name, values to put in the places of intermediates, or functions of what stands there.

    Raises:
        KeyError: a patch of what the pass does not have.
        TypeError: what is no model, or no text.
        ValueError: a text that is too long, or has no tokens; a model whose weights cannot be read any more.
    """
    model = model_of(model)
    encoding = encode(model, text, text2)
    run = _Run.of(model)
    found = run.again(model, encoding, pack(model, encoding), patch or {}, None)
    if unknown := [name for name in patch or {} if name not in found]:
        raise KeyError(_unknown(unknown, found))
    return found


def model_of(model: Any) -> Model[Any]:
    """The model that something stands on, or is.

    Raises:
        TypeError: it is none.
    """
    found = model if isinstance(model, Model) else getattr(model, "model", None)
    if not isinstance(found, Model):
        raise TypeError(f"expected a model of minidistil's (AutoModel..., load), got {type(model).__name__}")
    return found


def encode(model: Model[Any], text: str, text2: str | None = None, longest: int | None = None) -> Encoding:
    """The tokens of a text or pair, special ones included, refused where they are more than the model takes.

    Args:
        model: whose tokenizer makes them.
        text: the text.
        text2: the second of a pair, or None.
        longest: a limit below the model's, or None.

    Raises:
        TypeError: what is no text.
        ValueError: too many tokens, or none.
    """
    for name, value in (("text", text), ("text2", text2)):
        if not isinstance(value, str) and not (value is None and name == "text2"):
            raise TypeError(f"{name} must be a str, got {type(value).__name__}")
    limit = input_limit(model.tokenizer, model.config.longest_sentence)
    limit = limit if longest is None else min(limit, longest)
    encoding = model.tokenizer(text, text2)[0]
    if len(encoding) > limit:
        raise ValueError(f"the text has {len(encoding)} tokens, and at most {limit} are possible here: shorten it")
    if not len(encoding):
        raise ValueError("the text has no tokens, so there is nothing to see")
    return encoding


def pack(model: Model[Any], *encodings: Encoding) -> PackedBatch:
    """Tokens as a backend takes them, checked."""
    types = model.tokenizer.token_types(encodings, model.config.type_vocab_size)
    return pack_sentences(model.config, [e.ids for e in encodings], types, "text {}")


def weights_of(model: Model[Any]) -> ModelWeights:
    """The weights of a model, read again where it was loaded from.

    Raises:
        CheckpointError: the files have changed.
        ValueError: a model that was made in memory and keeps none.
    """
    if isinstance(model._backend, Reference):
        return model._backend.weights
    if model.source is None:
        raise ValueError(
            "this model was made of weights in memory, and the engine keeps none: load it from a folder, or with "
            'backend="exact"'
        )
    with loading():
        from minidistil.weights import open_checkpoint, read_model

    model.source.check()
    checkpoint = open_checkpoint(model.source).with_config(model.config.raw)
    return read_model(checkpoint, heads=model.heads, check_finite=False, precision=model.precision)


class _Run:
    """Weights and operations of a model, for one pass after another."""

    def __init__(self, weights: ModelWeights, ops: Operations) -> None:
        self.weights, self.ops = weights, ops

    @classmethod
    def of(cls, model: Model[Any]) -> _Run:
        return cls(weights_of(model), exact if isinstance(model._backend, Reference) else engine_operations())

    @default_mode()
    def again(
        self,
        model: Model[Any],
        encoding: Encoding,
        batch: PackedBatch,
        patches: Mapping[str, Patch],
        before: Mapping[str, np.ndarray] | None,
    ) -> Trace:
        recording = Recording(self.weights, patches, before, self.ops)
        reference = Reference(model.config, recording.weights, recording)
        last = reference.encode(batch).last
        _compute_head(model, recording, reference, last, first_tokens(batch))
        return Trace(model, encoding, batch, self, recording)


def _compute_head(
    model: Model[Any], recording: Recording, reference: Reference, last: np.ndarray, first: np.ndarray
) -> None:
    """The head's part of a pass, of the last hidden states float32 [n, D]."""
    name = model.heads[0] if model.heads else "pooler" if model._pooler is not None else ""
    if not name:
        return
    head = getattr(recording.weights, name)
    rows = last[first] if model.reads_first_only or name == "pooler" else last
    recording.reads(rows, name)
    if name == "masked_lm":
        logits = reference.masked_lm(rows)
        if "logits" not in recording.values:
            of = ("masked_lm.product",)
            recording.conclude("logits", logits, Made("bias", of, head.vocab_projector, "masked_lm.vocab_projector"))
    elif name == "pooler":
        heads.pool(reference, rows, head)
    elif name in ("sequence_classification", "multiple_choice", "discriminator"):
        heads.classify(reference, rows, head)
    else:
        reference.linear(rows, head)


class _EngineOperations:
    """The engine's products, norms and activations, the reference's for the rest: the same bits in less time."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._widened: dict[int, tuple[BFloat16Linear, Linear]] = {}  # by the identity of the first
        self.narrow: Callable[..., np.ndarray] = engine.linear
        self.layer_norm: Callable[..., np.ndarray] = engine.layer_norm
        self.activation: Callable[..., np.ndarray] = engine.activation
        self.embed = exact.embed
        self.product = exact.product
        self.attention = exact.attention

    def linear(self, x: np.ndarray, w: AnyLinear) -> np.ndarray:
        """x W^T + b: [M, K] -> [M, N]; in whole numbers by the reference, which is quick at them."""
        if isinstance(w, Int8Linear):
            return exact.linear(x, w)
        if isinstance(w, BFloat16Linear):
            if id(w) not in self._widened:
                self._widened[id(w)] = (w, Linear(w.weight, w.bias))
            w = self._widened[id(w)][1]
        found: np.ndarray = self._engine.linear(x, w)
        return found


def engine_operations() -> Operations:
    """Operations for the recorder on compiled kernels, which pack each product's weights on first use and keep them."""
    with loading():
        from minidistil.backends.engine.operations import Operations as Engine

    return _EngineOperations(Engine())


def _unknown(names: list[str], known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(names[0], list(known), 3, 0.5) or list(known)[:3]
    return (
        f"this pass has no {', '.join(map(repr, names))}; it has {', '.join(close)} and others (list(trace) names all)"
    )


_KINDS = {
    "look-up": "rows of the table {weights}",
    "sum": "{of}, added up in this order",
    "trigrams": "the next, the own and the previous token's word embedding, side by side",
    "product": "{of} times the weights of {weights}",
    "narrow product": "{of} times the weights of {weights}, plus their bias, summed as MKL sums few columns",
    "whole-number product": "{of} times the weights of {weights}, both as whole numbers with scales, plus the bias",
    "whole-number product with kept columns": "{of} times the weights of {weights}, both as whole numbers with scales, "
    "plus the bias, plus the products of the columns that are kept in float32",
    "bias": "{of} plus the bias of {weights}",
    "layer norm": "{of}, normalized over each row, times the gain, plus the shift",
    "gain and shift": "{of} times the gain, plus the shift",
    "activation": "{weights} of {of}",
    "scores": "each query of a head with each key, divided by the root of the head's width ({of})",
    "softmax": "softmax of {of} over each row: how much a token (row) attends to each (column)",
    "context": "each head's values, weighted by its probabilities, the heads side by side",
}
