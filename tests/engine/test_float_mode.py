"""The entries compute the same bits in whatever floating-point mode their threads are, and leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from minidistil.backends.engine import Engine
from minidistil.backends.engine.operations import Operations
from minidistil.backends.reference import exact
from minidistil.kernels import layout
from minidistil.kernels.code import native
from minidistil.weights.model_weights import Linear, Norm
from tests import build, float_modes, synthetic
from tests.bits import assert_same_bits
from tests.kernels.values import normal


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, mode: int) -> Iterator[list[tuple[str, int]]]:
    """Every thread of a team enters in `mode`, and must leave in it; yields the entries called, with their threads."""
    real, calls = native.entry, []

    def entry(name: str) -> native.Entry:
        def call(address: int, thread: int, threads: int) -> bool:
            calls.append((name, thread))
            with float_modes.entered(mode):
                return real(name)(address, thread, threads)

        return call

    monkeypatch.setattr(native, "entry", entry)
    yield calls
    assert calls


DISTILBERT = {**synthetic.DISTILBERT_SMALL, "n_layers": 2}
MOBILEBERT = {**synthetic.MOBILEBERT_SMALL, "num_hidden_layers": 1}


@float_modes.MODES
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("values", [DISTILBERT, MOBILEBERT], ids=lambda values: values["model_type"])
def test_encoder_and_vocabulary(
    values: dict, threads: int, mode: int, called: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, weights, generator = build.config(values), build.model_weights(values), np.random.default_rng(0)
    bias = np.zeros((3, 1, 40, 40), np.float32)
    bias[..., 7] = -86.5  # whose probabilities are subnormal numbers
    batch = build.batch([generator.integers(0, values["vocab_size"], 40) for _ in bias], attention_bias=bias)
    engine = Engine(config, weights, threads=threads)
    got = engine.encode(batch, hidden_states=True, attentions=True)
    logits = engine.masked_lm(got.last)
    assert {thread for _, thread in called} == set(range(threads))
    monkeypatch.undo()

    plain = Engine(config, weights, threads=1)
    want = plain.encode(batch, hidden_states=True, attentions=True)
    assert any(((x > 0) & (x < np.finfo(np.float32).tiny)).any() for layer in want.attentions for x in layer)
    for a, b in zip(got.hidden_states, want.hidden_states, strict=True):
        assert_same_bits(a, b)
    for layer, layer_want in zip(got.attentions, want.attentions, strict=True):
        for a, b in zip(layer, layer_want, strict=True):
            assert_same_bits(np.ascontiguousarray(a), np.ascontiguousarray(b))
    assert_same_bits(logits, plain.masked_lm(want.last))


@float_modes.MODES
def test_operations(mode: int, called: list) -> None:
    x, w = normal(1, 9, 192), Linear(normal(2, 60, 192), normal(3, 60))
    norm = Norm(normal(2, 192), normal(3, 192), 1e-12)
    assert_same_bits(Operations().linear(x, w), exact.linear(x, w))
    assert_same_bits(Operations().layer_norm(x, norm), exact.layer_norm(x, norm))
    for name in layout.ACTIVATIONS:
        values = np.concatenate([normal(1, 150, scale=5), np.float32([1e-40, -1e-40])])
        assert_same_bits(Operations().activation(name, values), exact.activation(name, values))
