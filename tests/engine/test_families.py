"""Every family and every variation of a configuration: the engine has the bits of `exact`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends.engine import Engine
from minidistil.backends.engine.operations import Operations
from minidistil.backends.reference import Reference, exact
from minidistil.models.inputs import pack_sentences
from minidistil.weights import ACTIVATIONS
from minidistil.weights.packing import pack_model
from tests import build, synthetic
from tests.bits import assert_same_bits, canonical
from tests.engine.checks import assert_every_bit
from tests.families import VARIATIONS, sentence
from tests.goldens.operations import activation_inputs


def every_activation() -> list[np.ndarray]:
    """What the engine makes of numbers of every magnitude by each activation, with one NaN for all."""
    x = activation_inputs()[::16]
    return [canonical(Operations().activation(name, x)) for name in ACTIVATIONS]


def albert() -> tuple[np.ndarray, np.ndarray]:
    """Hidden states and logits of a sentence: projected embeddings, shared layers, a tanh form of GELU."""
    values = VARIATIONS["albert of odd sizes"]
    config = build.config(values)
    engine = Engine(config, build.model_weights(values), threads=1)
    last = engine.encode(pack_sentences(config, [sentence(values, 40)[0]])).last
    return last, engine.masked_lm(last)


def test_single_activations_are_those_of_the_reference() -> None:
    x = activation_inputs()[::16]
    for name, got in zip(ACTIVATIONS, every_activation(), strict=True):
        assert_same_bits(got, canonical(exact.activation(name, x)), name)
    with pytest.raises(ValueError, match="there is no activation 'gelo'; known are gelu, gelu_new"):
        Operations().activation("gelo", x)


@pytest.mark.parametrize("name", VARIATIONS)
def test_every_bit(name: str) -> None:
    values = VARIATIONS[name]
    assert_every_bit(values, build.model_weights(values))


@given(
    kind=st.sampled_from(["albert of groups of two", "electra with wide embeddings"]),
    embedding=st.integers(1, 100),
    heads=st.integers(1, 3),
    head_dim=st.integers(1, 40),
    hidden=st.integers(1, 120),
    activation=st.sampled_from(ACTIVATIONS),
    length=st.integers(1, 40),
)
@settings(max_examples=25, deadline=None)
def test_any_sizes(
    kind: str, embedding: int, heads: int, head_dim: int, hidden: int, activation: str, length: int
) -> None:
    """Widths narrower and wider than each other, of one element, of whole panels and not."""
    values = {
        **VARIATIONS[kind],
        "vocab_size": 60,
        "embedding_size": embedding,
        "hidden_size": heads * head_dim,
        "num_attention_heads": heads,
        "intermediate_size": hidden,
        "hidden_act": activation,
    }
    config, weights = build.config(values), build.model_weights(values)
    batch = pack_sentences(config, [sentence(values, n)[0] for n in (length, 2)])
    reference, engine = Reference(config, weights, exact), Engine(config, weights, threads=1)
    want = reference.encode(batch).last
    assert_same_bits(engine.encode(batch).last, want)
    assert_same_bits(engine.masked_lm(want), reference.masked_lm(want), "logits")


def test_embeddings_given_are_projected_too() -> None:
    values = VARIATIONS["electra with wide embeddings"]
    config, weights = build.config(values), build.model_weights(values)
    embeds = np.random.default_rng(0).standard_normal((9, 200), dtype=np.float32)
    batch = build.batch([np.zeros(9, int)])
    batch = type(batch)(None, batch.position_ids, None, embeds, batch.offsets)
    assert_same_bits(
        Engine(config, weights, threads=1).encode(batch).last, Reference(config, weights).encode(batch).last
    )


def test_shared_layers_are_packed_once() -> None:
    """However often ALBERT applies them."""
    few, many = (build.model_weights({**synthetic.ALBERT_SMALL, "num_hidden_layers": n}) for n in (1, 12))
    assert len(few.encoder.layers) == 1
    assert len(many.encoder.layers) == 12
    assert all(layer is many.encoder.layers[0] for layer in many.encoder.layers)
    assert pack_model(few).block.size == pack_model(many).block.size
