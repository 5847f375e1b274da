"""Whole models against transformers, bit for bit, on batches that hypothesis draws.

What a batch gives is compared sentence by sentence with PyTorch's result for the sentence alone, padded to a multiple
of 16 tokens: that is the definition, which PyTorch's own padded batches can leave.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends.engine import Engine
from minidistil.backends.protocol import Backend
from minidistil.backends.reference import Reference
from minidistil.models.classes import BertModel, DistilBertForMaskedLM
from tests import build
from tests.bits import assert_same_bits
from tests.goldens.cases import FAMILIES, MINILM, SYNTHETIC, VOCABULARY, has_token_types, positions
from tests.goldens.load import checkpoint

pytestmark = pytest.mark.parity


@dataclass(frozen=True)
class Drawn:
    """A batch: ids and token types of each sentence, perhaps a 4-D mask, and the threads that each side uses."""

    sentences: list[np.ndarray]
    types: list[np.ndarray] | None
    bias: np.ndarray | None
    torch_threads: int


@st.composite
def batches(draw: st.DrawFn, name: str, most: int, sentences: int, masks: bool = True) -> Drawn:
    """Up to so many sentences of up to `most` tokens; with a 4-D mask now and then, over sentences of one length."""
    length = st.one_of(st.integers(1, min(40, most)), st.integers(1, most))
    lengths = draw(st.lists(length, min_size=1, max_size=sentences))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bias = None
    if masks and draw(st.integers(0, 3)) == 0:
        lengths = [min(lengths[0], 100)] * min(len(lengths), 3)
        shape = (len(lengths), 1, lengths[0], lengths[0])
        bias = generator.standard_normal(shape, dtype=np.float32) * np.float32(2)
        bias[generator.random(shape) < 0.3] = -np.inf
    ids = [generator.integers(0, VOCABULARY[name], n) for n in lengths]
    types = [np.sort(generator.integers(0, 2, n)) for n in lengths] if has_token_types(name) else None
    return Drawn(ids, types, bias, draw(st.sampled_from([1, 2])))


def compare(live: Any, name: str, backend: Backend, drawn: Drawn) -> None:
    """Every hidden state, and every logit where there is a head."""
    batch = build.batch(drawn.sentences, drawn.types, drawn.bias, positions(name, drawn.sentences))
    encoded = backend.encode(batch, hidden_states=True)
    assert encoded.hidden_states is not None
    logits = backend.masked_lm(encoded.last) if _has_head(name) else None
    for b, ids in enumerate(drawn.sentences):
        at = slice(batch.offsets[b], batch.offsets[b + 1])
        types = None if drawn.types is None else drawn.types[b]
        bias = None if drawn.bias is None else drawn.bias[b]
        states, want_logits = live.alone(name, ids, types, bias, drawn.torch_threads)
        for i, (got, want) in enumerate(zip(encoded.hidden_states, states, strict=True)):
            assert_same_bits(got[at], want, f"sentence {b} of lengths {[len(s) for s in drawn.sentences]}, state {i}")
        if logits is not None:
            assert_same_bits(logits[at], want_logits, f"sentence {b}, logits")


def _has_head(name: str) -> bool:
    return name != MINILM and SYNTHETIC[name]["architectures"][0].endswith("ForMaskedLM")


@functools.lru_cache(maxsize=2)
def _engine(name: str, threads: int) -> Engine:
    return Engine(*checkpoint(name), threads=threads)


@functools.cache
def _exact(name: str) -> Reference:
    return Reference(*checkpoint(name))


@settings(max_examples=40, deadline=None)
@given(batches("distilbert-small", 512, 8), st.sampled_from([1, 2]))
def test_engine(torch_reference: Any, drawn: Drawn, threads: int) -> None:
    compare(torch_reference, "distilbert-small", _engine("distilbert-small", threads), drawn)


@settings(max_examples=40, deadline=None)
@given(batches("bert-small", 512, 8))
def test_engine_with_token_types(torch_reference: Any, drawn: Drawn) -> None:
    compare(torch_reference, "bert-small", _engine("bert-small", 1), drawn)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=12, deadline=None)
@given(data=st.data(), threads=st.sampled_from([1, 2]))
def test_engine_on_the_family(torch_reference: Any, name: str, data: st.DataObject, threads: int) -> None:
    compare(torch_reference, name, _engine(name, threads), data.draw(batches(name, 512, 4)))


@settings(max_examples=10, deadline=None)
@given(batches("distilbert-base", 512, 4))
def test_engine_at_full_size(torch_reference: Any, drawn: Drawn) -> None:
    compare(torch_reference, "distilbert-base", _engine("distilbert-base", 2), drawn)


@settings(max_examples=10, deadline=None)
@given(batches(MINILM, 512, 6))
def test_engine_on_a_real_checkpoint(torch_reference: Any, minilm: Path, drawn: Drawn) -> None:
    compare(torch_reference, MINILM, _engine(MINILM, 2), drawn)


@settings(max_examples=15, deadline=None)
@given(batches("distilbert-small", 60, 3))
def test_exact(torch_reference: Any, drawn: Drawn) -> None:
    compare(torch_reference, "distilbert-small", _exact("distilbert-small"), drawn)


@settings(max_examples=15, deadline=None)
@given(batches("bert-small", 60, 3))
def test_exact_with_token_types(torch_reference: Any, drawn: Drawn) -> None:
    compare(torch_reference, "bert-small", _exact("bert-small"), drawn)


@settings(max_examples=20, deadline=None)
@given(batches("distilbert-small", 200, 6, masks=False))
def test_padded_input_through_the_model_class(torch_reference: Any, distilbert_small: Path, drawn: Drawn) -> None:
    """input_ids and attention_mask as people pass them; whatever stands in the padding."""
    ids, mask, _ = _padded(drawn)
    out = _distilbert(distilbert_small)(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    for b, sentence in enumerate(drawn.sentences):
        states, logits = torch_reference.alone("distilbert-small", sentence, None, None, 1)
        for got, want in zip(out.hidden_states, states, strict=True):
            assert_same_bits(np.ascontiguousarray(got[b, : len(sentence)]), want)
        assert_same_bits(np.ascontiguousarray(out.logits[b, : len(sentence)]), logits)


@settings(max_examples=10, deadline=None)
@given(batches(MINILM, 200, 4, masks=False))
def test_padded_input_through_the_real_model(torch_reference: Any, minilm: Path, drawn: Drawn) -> None:
    ids, mask, types = _padded(drawn)
    out = _minilm(minilm)(input_ids=ids, attention_mask=mask, token_type_ids=types)
    assert drawn.types is not None
    for b, sentence in enumerate(drawn.sentences):
        states, _ = torch_reference.alone(MINILM, sentence, drawn.types[b], None, 1)
        assert_same_bits(np.ascontiguousarray(out.last_hidden_state[b, : len(sentence)]), states[-1])


@functools.cache
def _distilbert(folder: Path) -> DistilBertForMaskedLM:
    return DistilBertForMaskedLM.from_pretrained(folder)


@functools.cache
def _minilm(folder: Path) -> BertModel:
    return BertModel.from_pretrained(folder)


def _padded(drawn: Drawn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ids, mask and token types [B, S], trailing padding filled with words that must not matter."""
    longest = max(map(len, drawn.sentences))
    ids = np.full((len(drawn.sentences), longest), 7)
    mask, types = np.zeros_like(ids), np.ones_like(ids)
    for b, sentence in enumerate(drawn.sentences):
        ids[b, : len(sentence)], mask[b, : len(sentence)] = sentence, 1
        if drawn.types is not None:
            types[b, : len(sentence)] = drawn.types[b]
    return ids, mask, types
