"""The model over either set of operations: what comes back, and that the two sets agree."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from minidistil.backends.reference import Reference, blas, exact
from tests import build
from tests.bits import assert_same_bits
from tests.synthetic import BERT_SMALL, DISTILBERT_SMALL

RNG = np.random.default_rng(3)
SENTENCES = [RNG.integers(0, 1200, n) for n in (7, 1, 33)]
TYPES = [np.arange(len(s)) % 2 for s in SENTENCES]


@pytest.fixture(scope="module", params=["distilbert", "bert"])
def values(request: pytest.FixtureRequest) -> dict:
    return DISTILBERT_SMALL if request.param == "distilbert" else BERT_SMALL


@pytest.fixture(scope="module")
def types(values: dict) -> list[np.ndarray]:
    """Token types, all zero for a model that has none."""
    return TYPES if build.config(values).type_vocab_size else [np.zeros_like(row) for row in TYPES]


def test_what_is_asked_for_comes_back(values: dict, types: list[np.ndarray]) -> None:
    reference = Reference(build.config(values), build.model_weights(values))
    batch = build.batch(SENTENCES, types)
    plain = reference.encode(batch)
    assert plain.last.shape == (41, 128)
    assert plain.last.dtype == np.float32
    assert plain.hidden_states is None
    assert plain.attentions is None

    rows = np.array([40, 0, 7])
    full = reference.encode(batch, hidden_states=True, attentions=True, rows=rows)
    assert_same_bits(full.last, plain.last[rows])
    assert full.hidden_states is not None
    assert [s.shape for s in full.hidden_states] == [(41, 128)] * 3
    assert_same_bits(full.hidden_states[-1], plain.last)
    assert full.attentions is not None
    assert [[p.shape for p in layer] for layer in full.attentions] == [[(4, 7, 7), (4, 1, 1), (4, 33, 33)]] * 2
    for layer in full.attentions:
        for p in layer:
            np.testing.assert_allclose(p.sum(2), 1, rtol=1e-6)
            assert (p >= 0).all()
    assert reference.encode(batch, rows=np.array([], np.int64)).last.shape == (0, 128)


def test_a_sentence_is_the_same_in_any_batch(values: dict, types: list[np.ndarray]) -> None:
    reference = Reference(build.config(values), build.model_weights(values))
    together = reference.encode(build.batch(SENTENCES, types)).last
    alone = [reference.encode(build.batch([s], [t])).last for s, t in zip(SENTENCES, types, strict=True)]
    assert_same_bits(together, np.concatenate(alone))
    reverse = reference.encode(build.batch(SENTENCES[::-1], types[::-1])).last
    assert_same_bits(reverse, np.concatenate(alone[::-1]))


def test_both_operation_sets_agree(values: dict, types: list[np.ndarray]) -> None:
    config, weights = build.config(values), build.model_weights(values)
    bias = 2 * np.random.default_rng(0).standard_normal((2, 4, 33, 33), dtype=np.float32)
    bias[0, 1, 3] = bias[1, :, :, 5] = -np.inf
    for batch in (build.batch(SENTENCES, types), build.batch([SENTENCES[2]] * 2, [types[2]] * 2, bias)):
        want = Reference(config, weights, exact).encode(batch, hidden_states=True, attentions=True)
        got = Reference(config, weights, blas).encode(batch, hidden_states=True, attentions=True)
        assert got.hidden_states is not None
        assert want.hidden_states is not None
        for a, b in zip(got.hidden_states, want.hidden_states, strict=True):
            assert np.isfinite(b).all()
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-5)
        assert got.attentions is not None
        assert want.attentions is not None
        for layer_a, layer_b in zip(got.attentions, want.attentions, strict=True):
            for a, b in zip(layer_a, layer_b, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    if weights.masked_lm is not None:
        logits = [Reference(config, weights, ops).masked_lm(want.last) for ops in (blas, exact)]
        assert logits[1].shape == (66, 1200)
        np.testing.assert_allclose(logits[0], logits[1], rtol=0, atol=5e-5)


def test_token_types_and_positions_count() -> None:
    reference = Reference(build.config(BERT_SMALL), build.model_weights(BERT_SMALL))
    batch = build.batch(SENTENCES, TYPES)
    with_types = reference.encode(batch).last
    without = reference.encode(build.batch(SENTENCES)).last
    zeros = reference.encode(build.batch(SENTENCES, [np.zeros_like(t) for t in TYPES])).last
    assert_same_bits(without, zeros)
    assert not np.array_equal(with_types, without)
    shifted = dataclasses.replace(batch, position_ids=batch.position_ids + 1)
    assert not np.array_equal(reference.encode(shifted).last, with_types)


def test_inputs_embeds_replace_the_word_look_up() -> None:
    weights = build.model_weights(DISTILBERT_SMALL)
    reference = Reference(build.config(DISTILBERT_SMALL), weights)
    batch = build.batch(SENTENCES)
    words = weights.encoder.embeddings.word_embeddings[batch.input_ids]
    embeds = dataclasses.replace(batch, input_ids=None, inputs_embeds=words)
    assert_same_bits(reference.encode(embeds).last, reference.encode(batch).last)


def test_a_missing_head_is_named() -> None:
    reference = Reference(build.config(BERT_SMALL), build.model_weights(BERT_SMALL))
    with pytest.raises(ValueError, match="masked-language-model head"):
        reference.masked_lm(np.zeros((1, 128), np.float32))


def test_overflow_goes_through_quietly() -> None:
    """Residuals that overflow give infinities and NaN in their sentence only, and no warning."""
    weights = build.model_weights(DISTILBERT_SMALL)
    for ops in (exact, blas):
        reference = Reference(build.config(DISTILBERT_SMALL), weights, ops)
        embeds = weights.encoder.embeddings.word_embeddings[np.concatenate(SENTENCES)]
        embeds[3] = np.float32(3e38)
        embeds[3, ::2] = np.float32(-3e38)
        batch = dataclasses.replace(build.batch(SENTENCES), input_ids=None, inputs_embeds=embeds)
        last = reference.encode(batch).last
        assert np.isnan(last[:7]).any()
        assert np.isfinite(last[7:]).all()
