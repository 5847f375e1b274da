"""MobileBERT on the engine: any sizes and variants, any company, and nothing of it where another family runs."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends.batch import PackedBatch
from minidistil.backends.engine import Engine, profile
from minidistil.backends.reference import Reference, exact
from minidistil.kernels import layout
from minidistil.models.inputs import pack_sentences
from minidistil.weights import ACTIVATIONS
from minidistil.weights.packing import pack_model
from tests import build, synthetic
from tests.bits import assert_same_bits
from tests.engine import checks
from tests.engine.checks import assert_attentions, assert_same_in_company, companies, random_bias
from tests.families import VARIATIONS, sentence

CONFIG = {**synthetic.MOBILEBERT_SMALL, "vocab_size": 300}
KINDS = [name for name in VARIATIONS if name.startswith("mobilebert")]


@given(
    sizes=st.tuples(*[st.integers(1, 60)] * 3),
    heads=st.integers(1, 3),
    head_dims=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    networks=st.integers(1, 3),
    flags=st.tuples(*[st.booleans()] * 4),
    norm=st.sampled_from(["no_norm", "layer_norm"]),
    activation=st.sampled_from(ACTIVATIONS),
    length=st.integers(1, 40),
)
@settings(max_examples=40, deadline=None)
def test_any_sizes_and_variants(
    sizes: tuple[int, int, int],
    heads: int,
    head_dims: tuple[int, int],
    networks: int,
    flags: tuple[bool, ...],
    norm: str,
    activation: str,
    length: int,
) -> None:
    """Bottlenecks narrower and wider than the stream; widths of one element, of whole panels and not."""
    embedding, hidden, vocabulary = sizes
    trigrams, bottleneck, attends, shared = flags
    dim, inner = heads * max(head_dims), heads * min(head_dims)
    if networks == 2:
        dim, inner = inner, dim
    values = {
        **CONFIG,
        "vocab_size": vocabulary,
        "embedding_size": min(embedding, dim),
        "hidden_size": dim,
        "intra_bottleneck_size": inner if attends or shared else dim,
        "num_attention_heads": heads,
        "intermediate_size": hidden,
        "num_feedforward_networks": networks,
        "trigram_input": trigrams,
        "use_bottleneck": bottleneck,
        "use_bottleneck_attention": attends,
        "key_query_shared_bottleneck": shared,
        "normalization_type": norm,
        "hidden_act": activation,
        "pad_token_id": 0,
    }
    config, weights = build.config(values), build.model_weights(values)
    batch = pack_sentences(config, [sentence(values, n)[0] for n in (length, 2)])
    reference, own = Reference(config, weights, exact), Engine(config, weights, threads=1)
    want = reference.encode(batch).last
    assert_same_bits(own.encode(batch).last, want)
    assert_same_bits(own.masked_lm(want), reference.masked_lm(want), "logits")


@functools.cache
def make(threads: int, kind: str = "mobilebert") -> Engine:
    values = VARIATIONS[kind]
    return Engine(build.config(values), build.model_weights(values), threads=threads)


def ids(seed: int, length: int) -> np.ndarray:
    return np.random.default_rng([seed, length]).integers(0, CONFIG["vocab_size"], length)


@functools.cache
def alone(seed: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """On one thread."""
    return checks.alone(make(1), ids(seed, length))


@given(companies, st.sampled_from([1, 2, 3]), st.sampled_from([1, 64, 2048]), st.booleans())
@settings(max_examples=25, deadline=None)
def test_company_order_threads_and_passes_change_no_bit(
    company: list[tuple[int, int]], threads: int, tokens: int, apart: bool
) -> None:
    """Neighbours of a token are those of its sentence, whoever travels beside it."""
    each = [alone(*s) for s in company]
    assert_same_in_company(make(threads), [ids(*s) for s in company], each, build.limits(threads, tokens, apart))


@given(
    companies, st.data(), st.sampled_from(KINDS), st.sampled_from([1, 2]), st.sampled_from([50, 2048]), st.booleans()
)
@settings(max_examples=40, deadline=None)
def test_rows_asked_for_are_the_rows_of_the_whole(
    company: list[tuple[int, int]], data: st.DataObject, kind: str, threads: int, tokens: int, apart: bool
) -> None:
    batch = build.batch([ids(*s) for s in company])
    rows = np.array(data.draw(st.lists(st.integers(0, batch.tokens - 1), max_size=12)), np.int64)
    backend = make(threads, kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "limits", build.limits(threads, tokens, apart))
        some = backend.encode(batch, rows=rows).last
    assert_same_bits(some, make(1, kind).encode(batch).last[rows])


@pytest.mark.parametrize("kind", KINDS)
def test_attentions_with_a_mask_for_each_head(kind: str) -> None:
    batch = build.batch([ids(b, 21) for b in range(3)], attention_bias=random_bias(make(1, kind).config.n_heads, 21))
    assert_attentions([make(1, kind), make(2, kind)], build.model_weights(VARIATIONS[kind]), batch)


@pytest.mark.parametrize("kind", ["mobilebert", "mobilebert without trigrams or a projection"])
def test_embeddings_given_replace_the_words_only(kind: str) -> None:
    words = build.model_weights(VARIATIONS[kind]).encoder.embeddings.word_embeddings
    batch = build.batch([ids(0, 9), ids(1, 5)])
    given_embeddings = PackedBatch(
        None, batch.position_ids, None, np.ascontiguousarray(words[batch.input_ids]), batch.offsets
    )
    assert_same_bits(make(1, kind).encode(given_embeddings).last, make(1, kind).encode(batch).last)


def test_the_widened_vocabulary_is_packed_without_standing_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """In rows, a few panels at a time; what the columns are, the bits of the logits tell."""
    weights = build.model_weights({**CONFIG, "vocab_size": 10_000})
    head = weights.masked_lm
    assert head is not None
    most, projection = [0], type(head).projection
    monkeypatch.setattr(
        type(head), "projection", lambda self, rows: most.append(rows.stop - rows.start) or projection(self, rows)
    )
    packed = pack_model(weights)
    assert 0 < max(most) < 5000
    want = np.zeros_like(packed["vocab_projector.weight"])
    layout.pack(projection(head), want, packed.sliver)
    assert_same_bits(packed["vocab_projector.weight"], want)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kernel_is_named_once_a_layer(kind: str) -> None:
    own, batch = make(2, kind), build.batch([ids(0, 40), ids(1, 7)])
    shares = profile.profile(own, batch, passes=3).shares
    by_layer = [[s.name for s in group] for _, group in itertools.groupby(shares, key=lambda s: s.layer)]
    first, *layers, last = by_layer
    projected = kind != "mobilebert without trigrams or a projection"
    assert first == ["embeddings", *["projection"] * projected, "embedding norm"]
    assert last == ["result"]
    assert len(layers) == 2
    networks = VARIATIONS[kind]["num_feedforward_networks"]
    narrow = VARIATIONS[kind]["use_bottleneck"]
    for names in layers:
        assert names == [
            *["bottlenecks", "bottleneck norms"] * narrow,
            *["q, k, v", "attention", "out_lin", "sa_layer_norm"],
            *["lin1 + activation", "lin2", "feed-forward norm"] * networks,
            *["output bottleneck", "output norm"] * narrow,
        ]
    assert sum(share.operations for share in shares) == profile.pass_operations(own, np.array([40, 7]))
    matrices = [n for n, x in synthetic.tensor_shapes(VARIATIONS[kind]).items() if "layer.0" in n and len(x) == 2]
    unused = [n for n in matrices if "bottleneck.attention" in n] * VARIATIONS[kind]["use_bottleneck_attention"]
    shapes = synthetic.tensor_shapes(VARIATIONS[kind])
    read = sum(share.weights for share in shares if share.layer == 0)
    assert read == 4 * sum(int(np.prod(shapes[n])) for n in set(matrices) - set(unused))
