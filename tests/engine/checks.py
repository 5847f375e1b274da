"""What holds of every model on the engine, whatever its family and the precision of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from minidistil.backends.batch import PackedBatch
from minidistil.backends.engine import Engine
from minidistil.backends.engine.passes import Limits
from minidistil.backends.reference import Reference, exact
from minidistil.models.inputs import pack_sentences
from minidistil.weights.model_weights import ModelWeights
from tests import build
from tests.bits import assert_same_bits
from tests.families import sentence

LENGTHS = (1, 17, 6)

companies = st.lists(
    st.tuples(
        st.integers(0, 3), st.one_of(st.integers(1, 40), st.sampled_from([47, 48, 49, 144, 145, 191, 192, 193, 300]))
    ),
    min_size=1,
    max_size=9,
)
"""Seeds and lengths of sentences, lengths around the sizes of blocks among them."""


def assert_every_bit(values: dict[str, Any], weights: ModelWeights) -> None:
    """Hidden states, logits and rows of a model of config.json's `values` are the reference's."""
    config = build.config(values)
    pairs = [sentence(values, n) for n in LENGTHS]
    types = [t for _, t in pairs if t is not None]
    batch = pack_sentences(config, [ids for ids, _ in pairs], np.concatenate(types).astype(np.int32) if types else None)
    reference, engine = Reference(config, weights, exact), Engine(config, weights, threads=2)
    want = reference.encode(batch, hidden_states=True)
    got = engine.encode(batch, hidden_states=True)
    for i, (a, b) in enumerate(zip(got.hidden_states or (), want.hidden_states or (), strict=True)):
        assert_same_bits(a, b, f"hidden state {i}")
        assert np.isfinite(b).all()
        assert b.any()
    assert len(want.hidden_states or ()) == config.n_layers + 1
    assert_same_bits(engine.masked_lm(want.last), reference.masked_lm(want.last), "logits")
    rows = np.array([5, 0, 20])
    assert_same_bits(engine.encode(batch, rows=rows).last, want.last[rows], "rows")


def assert_attentions(engines: Sequence[Engine], weights: ModelWeights, batch: PackedBatch) -> None:
    """Attentions and hidden states of a batch of more than 40 tokens are the reference's, and so are rows."""
    want = Reference(engines[0].config, weights, exact).encode(batch, hidden_states=True, attentions=True)
    rows = np.array([1, 40])
    for engine in engines:
        got = engine.encode(batch, hidden_states=True, attentions=True)
        assert_same_bits(got.last, want.last)
        for a, b in zip(got.hidden_states or (), want.hidden_states or (), strict=True):
            assert_same_bits(a, b)
        for layer, layer_want in zip(got.attentions or (), want.attentions or (), strict=True):
            for a, b in zip(layer, layer_want, strict=True):
                assert_same_bits(np.ascontiguousarray(a), b)
        assert_same_bits(engine.encode(batch, rows=rows).last, want.last[rows], "rows")


def random_bias(heads: int, n: int) -> np.ndarray:
    """Of three sentences: float32 [3, heads, n, n], with pairs that see nothing of each other."""
    bias = np.random.default_rng(1).standard_normal((3, heads, n, n), dtype=np.float32)
    bias[bias > 1] = -np.inf
    for b in bias.reshape(-1, n, n):
        np.fill_diagonal(b, 0)
    return bias


def alone(engine: Engine, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hidden states [L + 1, n, D] and logits [n, V] of a sentence that travels alone."""
    encoded = engine.encode(build.batch([ids]), hidden_states=True)
    return np.stack(encoded.hidden_states or ()), engine.masked_lm(encoded.last)


def assert_same_in_company(
    engine: Engine,
    sentences: Sequence[np.ndarray],
    of_each: Sequence[tuple[np.ndarray, np.ndarray]],
    limits: Limits,
    rows: Sequence[int] = (),
) -> None:
    """Sentences have the same bits beside each other as alone, in passes of any size, and so have some rows of all."""
    batch, some = build.batch(sentences), np.array(rows, np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "limits", limits)
        encoded = engine.encode(batch, hidden_states=True)
        read = engine.encode(batch, rows=some).last
    states, logits = np.stack(encoded.hidden_states or ()), engine.masked_lm(encoded.last)
    for (want, want_logits), start, end in zip(of_each, batch.offsets[:-1], batch.offsets[1:], strict=True):
        assert_same_bits(np.ascontiguousarray(states[:, start:end]), want, f"sentence of {end - start}")
        assert_same_bits(logits[start:end], want_logits, f"logits of a sentence of {end - start}")
    assert_same_bits(read, encoded.last[some], "rows")
