"""Runs the engine and the reference over the exact operations on the same tokens, and compares what each layer made."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.models.heads import classify

if TYPE_CHECKING:
    from minidistil.backends.protocol import Backend
    from minidistil.weights import Checkpoint, Linear, ModelWeights

# A sentence below a vector, one that fills vectors exactly, one with a remainder; short, since exact is slow.
LENGTHS = (3, 16, 21)


@dataclass(frozen=True)
class Stage:
    """What both made at one place in the model.

    Attributes:
        name: embeddings, layer 1 to L, a head's name.
        engine: float32, what the compiled engine made.
        exact: float32, same shape, what the reference over the exact operations made.
    """

    name: str
    engine: np.ndarray
    exact: np.ndarray

    @property
    def differing(self) -> int:
        """How many elements differ in any bit; a NaN differs from everything, other NaNs too."""
        same = (self.engine.view(np.uint32) == self.exact.view(np.uint32)) & ~np.isnan(self.exact)
        return int(same.size - np.count_nonzero(same))

    @property
    def largest_difference(self) -> float:
        """The largest absolute difference; NaN where either has one."""
        return float(np.max(np.abs(self.engine.astype(np.float64) - self.exact), initial=0.0))

    def summary(self) -> dict[str, Any]:
        """What --json prints."""
        facts = {"stage": self.name, "shape": list(self.engine.shape), "differing": self.differing}
        largest = self.largest_difference
        return {**facts, "largest_difference": largest if np.isfinite(largest) else str(largest)}


def compare(checkpoint: Checkpoint, threads: int | None, precision: str | None = None) -> list[Stage]:
    """Run both on `tokens` and pair what they made, stage by stage.

    Args:
        checkpoint: an opened one.
        threads: of the engine; None for what OMP_NUM_THREADS says, else all it may use.
        precision: of the weights; None for the checkpoint's own.
    """
    from minidistil.backends.engine import Engine
    from minidistil.backends.reference import Reference, exact
    from minidistil.weights import read_model
    from minidistil.weights.config import Config

    config = Config.from_dict(checkpoint.config, where=checkpoint.folder)
    weights = read_model(checkpoint, precision=precision)
    batch = tokens(config.vocab_size, config.max_position_embeddings)
    backends = Engine(config, weights, threads=threads), Reference(config, weights, ops=exact)
    encoded = [backend.encode(batch, hidden_states=True) for backend in backends]
    names = ["embeddings", *(f"layer {i + 1}" for i in range(config.n_layers))]
    stages = [
        Stage(name, a, b)
        for name, a, b in zip(names, encoded[0].hidden_states or (), encoded[1].hidden_states or (), strict=True)
    ]
    # Both start from the same rows: a head is judged by itself.
    rows = np.ascontiguousarray(encoded[1].last[:: max(1, batch.tokens // 8)])
    stages += [Stage(name, *(compute(backend, rows) for backend in backends)) for name, compute in _heads(weights)]
    return stages


_CLASSIFIERS = {
    "sequence_classification": "sequence logits",
    "multiple_choice": "choice logits",
    "discriminator": "discriminator",
}
_OUTPUTS = {"token_classification": "token logits", "question_answering": "span logits"}


def _heads(weights: ModelWeights) -> Iterator[tuple[str, Callable[[Backend, np.ndarray], np.ndarray]]]:
    """Of each head that is there, what to call it, and how it is computed for last hidden states."""
    if weights.masked_lm is not None:
        yield "masked-LM logits", lambda backend, x: backend.masked_lm(x)
    for field, name in _CLASSIFIERS.items():
        if (head := getattr(weights, field)) is not None:
            yield name, functools.partial(classify, head=head)
    for field, name in _OUTPUTS.items():
        if (output := getattr(weights, field)) is not None:
            yield name, functools.partial(_product, output=output)


def _product(backend: Backend, x: np.ndarray, output: Linear) -> np.ndarray:
    return backend.linear(x, output)


def tokens(vocab_size: int, positions: int) -> PackedBatch:
    """The same few sentences of token ids on every machine, spread over the vocabulary."""
    lengths = [min(n, positions) for n in LENGTHS]
    total = sum(lengths)
    return PackedBatch(
        input_ids=(np.arange(total, dtype=np.int64) * 7919 % vocab_size).astype(np.int32),
        position_ids=np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
        token_type_ids=None,
        inputs_embeds=None,
        offsets=np.cumsum([0, *lengths]),
    )


def output_digest(stages: Sequence[Stage]) -> str:
    """SHA-256 over the engine's float32 values of all stages, little-endian."""
    whole = hashlib.sha256()
    for stage in stages:
        whole.update(np.ascontiguousarray(stage.engine, dtype="<f4").tobytes())
    return whole.hexdigest()
