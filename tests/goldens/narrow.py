"""Digests of what models of narrow weights give, made by the reference: python -m tests.goldens.narrow

Their bytes are the same on every machine, so that one with other instructions than the maker's proves them.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np

from minidistil.backends.protocol import Backend
from minidistil.backends.reference import Reference, exact
from minidistil.weights import quantizing
from minidistil.weights.model_weights import ModelWeights
from minidistil.weights.packing import pack_model
from minidistil.weights.quantizing import quantized
from tests import build, synthetic
from tests.bits import digest
from tests.goldens.load import weights_digest
from tests.narrow import KINDS, narrow

PATH = Path(__file__).with_suffix(".json")
MODELS = {
    "distilbert": {**synthetic.DISTILBERT_SMALL, "vocab_size": 300},
    "distilbert as wide as the base": {**synthetic.DISTILBERT_BASE, "n_layers": 1, "vocab_size": 300},
    "mobilebert": {**synthetic.MOBILEBERT_SMALL, "vocab_size": 300},
}
LENGTHS = (1, 2, 17, 50)


@functools.cache
def golden() -> dict[str, dict[str, str]]:
    """By model: digests of its float32 weights, and for each precision of its results; and what `quantized` makes."""
    return json.loads(PATH.read_text())


@functools.cache
def model(name: str, precision: str) -> ModelWeights:
    """A model's weights."""
    return narrow(build.model_weights(MODELS[name]), precision)


def result(name: str, backend: Backend) -> str:
    """Digest of a backend's hidden states and logits."""
    generator = np.random.default_rng(0)
    batch = build.batch([generator.integers(0, 300, n) for n in LENGTHS])
    encoded = backend.encode(batch, hidden_states=True)
    assert encoded.hidden_states is not None
    return digest(*encoded.hidden_states, backend.masked_lm(encoded.last[::7]))


def drawn(name: str) -> str:
    """Digest of what NumPy draws for a model."""
    return weights_digest(synthetic.tensors(MODELS[name], 0))


def made() -> dict[str, str]:
    """The method of quantizing, and a digest of what it makes of a model."""
    packed = pack_model(quantized(build.model_weights(MODELS["distilbert"])), tables=True)
    arrays = [packed[name] for name in sorted(packed.places) if name.endswith((".weight", ".scale", ".smooth"))]
    whole = [x for x in arrays if x.dtype == np.int8] + [x for x in arrays if x.ndim == 1]
    return {"version": str(quantizing.VERSION), "digest": digest(*whole)}


def main() -> None:
    found = {
        name: {"weights": drawn(name)}
        | {p: result(name, Reference(build.config(MODELS[name]), model(name, p), exact)) for p in KINDS}
        for name in MODELS
    }
    PATH.write_text(json.dumps({**found, "quantizing": made()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
