"""The same sentence gives the same bytes: alone, in any company and order, on any number of threads, in any pass."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends.batch import PackedBatch
from minidistil.backends.engine import Engine
from tests import build, synthetic
from tests.bits import assert_same_bits
from tests.engine import checks
from tests.engine.checks import assert_attentions, assert_same_in_company, companies, random_bias

CONFIG = {**synthetic.DISTILBERT_SMALL, "n_layers": 2}


@functools.cache
def make(threads: int) -> Engine:
    return Engine(build.config(CONFIG), build.model_weights(CONFIG), threads=threads)


def sentence(seed: int, length: int) -> np.ndarray:
    return np.random.default_rng([seed, length]).integers(0, CONFIG["vocab_size"], length)


@functools.cache
def alone(seed: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """On one thread."""
    return checks.alone(make(1), sentence(seed, length))


@given(companies, st.sampled_from([1, 2, 3]), st.sampled_from([1, 64, 2048]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_company_order_threads_and_passes_change_no_bit(
    company: list[tuple[int, int]], threads: int, tokens: int, apart: bool
) -> None:
    each = [alone(*s) for s in company]
    limits = build.limits(threads, tokens, apart)
    assert_same_in_company(make(threads), [sentence(*s) for s in company], each, limits)


@given(companies, st.data(), st.sampled_from([1, 2]), st.sampled_from([50, 2048]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_rows_asked_for_are_the_rows_of_the_whole(
    company: list[tuple[int, int]], data: st.DataObject, threads: int, tokens: int, apart: bool
) -> None:
    batch = build.batch([sentence(*s) for s in company])
    rows = data.draw(st.lists(st.integers(0, batch.tokens - 1), max_size=12))
    whole = make(1).encode(batch).last
    backend = make(threads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "limits", build.limits(threads, tokens, apart))
        some = backend.encode(batch, rows=np.array(rows, np.int64)).last
    assert_same_bits(some, whole[np.array(rows, np.int64)])


def test_attentions_are_those_of_the_reference() -> None:
    values = {
        **CONFIG,
        "n_layers": 2,
        "dim": 52,
        "n_heads": 2,
        "hidden_dim": 70,
    }  # heads of 26: no multiple of a vector
    config, weights = build.config(values), build.model_weights(values)
    batch = build.batch([sentence(0, n) for n in (1, 17, 33)])
    assert_attentions([Engine(config, weights, threads=threads) for threads in (1, 2)], weights, batch)


@pytest.mark.parametrize("heads", [1, 4])
def test_attention_bias(heads: int) -> None:
    batch = build.batch([sentence(b, 21) for b in range(3)], attention_bias=random_bias(heads, 21))
    assert_attentions([make(1), make(2)], build.model_weights(CONFIG), batch)


def test_embeddings_given_replace_the_words_only() -> None:
    ids = sentence(0, 9)
    words = build.model_weights(CONFIG).encoder.embeddings.word_embeddings
    batch = build.batch([ids])
    given_embeddings = PackedBatch(None, batch.position_ids, None, np.ascontiguousarray(words[ids]), batch.offsets)
    assert_same_bits(make(1).encode(given_embeddings).last, make(1).encode(batch).last)


def test_no_sentences() -> None:
    nothing = np.zeros(0, np.int32)
    encoded = make(1).encode(PackedBatch(nothing, nothing, None, None, np.zeros(1, np.int64)), hidden_states=True)
    assert encoded.last.shape == (0, 128)
    assert len(encoded.hidden_states) == 3
    assert make(1).masked_lm(encoded.last).shape == (0, 1200)
