"""Models of narrow weights on the engine: the bits of `exact`, in any company, on any number of threads."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidistil
from minidistil.backends.batch import PackedBatch
from minidistil.backends.engine import Engine, profile
from minidistil.backends.reference import Reference, exact
from minidistil.kernels.steps.code_rows import CodeRows
from minidistil.kernels.steps.coded_product import CodedProduct
from minidistil.kernels.steps.product import Product
from minidistil.kernels.steps.sum_rows import SumRows
from minidistil.weights import conversion
from minidistil.weights.model_weights import LayerWeights, ModelWeights
from minidistil.weights.narrow import Int8Linear, NarrowTable
from tests import build, forks, synthetic
from tests.bits import assert_same_bits, digest
from tests.engine import checks
from tests.engine.checks import assert_attentions, assert_every_bit, assert_same_in_company, companies, random_bias
from tests.families import VARIATIONS
from tests.goldens import narrow as goldens
from tests.heads import HEADS, Head
from tests.narrow import KEEPING, narrow
from tests.narrow import KINDS as NARROW

SMALL = {**synthetic.DISTILBERT_SMALL, "n_layers": 2, "vocab_size": 300}
MOBILE = VARIATIONS["mobilebert"]
KINDS = {"distilbert": SMALL, "bert": VARIATIONS["bert with relu"], "mobilebert": MOBILE}
# In bfloat16 nothing but the way from memory is another than in float32.
CASES = [
    *[("int8", name, 0) for name in VARIATIONS if not name.startswith("activation") or name.endswith(("gelu", "silu"))],
    *[("int8", name, 3) for name in VARIATIONS if "odd" in name or "groups" in name],
    *[(KEEPING, name, 0) for name in VARIATIONS if not name.startswith("activation") or name.endswith("gelu_new")],
    *[(KEEPING, name, 3) for name in VARIATIONS if "odd" in name or "groups" in name],
    *[("bfloat16", name, 0) for name in VARIATIONS if not name.startswith("activation")],
]

every_precision = pytest.mark.parametrize("precision", NARROW)
every_kind = pytest.mark.parametrize("kind", KINDS)


@functools.cache
def weights(kind: str, precision: str, keep: int = 0) -> ModelWeights:
    return narrow(build.model_weights(KINDS.get(kind) or VARIATIONS[kind]), precision, keep)


@functools.cache
def make(kind: str, precision: str, threads: int = 1) -> Engine:
    return Engine(build.config(KINDS[kind]), weights(kind, precision), threads=threads)


def ids(seed: int, length: int) -> np.ndarray:
    return np.random.default_rng([seed, length]).integers(0, 300, length)


# -- the bits of the reference ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "name", "keep"), CASES)
def test_every_bit(precision: str, name: str, keep: int) -> None:
    assert_every_bit(VARIATIONS[name], weights(name, precision, keep))


def test_bfloat16_of_sums_that_are_not_in_pairs() -> None:
    """Blocks of 101 and 97 terms: packed as float32, and no other bits for it."""
    values = {**SMALL, "dim": 202, "n_heads": 2, "hidden_dim": 97}
    config, own = build.config(values), narrow(build.model_weights(values), "bfloat16")
    backend, batch = Engine(config, own, threads=2), build.batch([ids(0, 30), ids(1, 3)])
    assert_same_bits(backend.encode(batch).last, Reference(config, own, exact).encode(batch).last)


@pytest.mark.parametrize("keeping", [False, True], ids=["", "columns kept"])
@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.key)
def test_every_head(head: Head, keeping: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, inputs = head.write(tmp_path), head.inputs(2, 5)
    if keeping:
        monkeypatch.setattr(conversion, "quantized", lambda weights: narrow(weights, KEEPING))
    for precision in ("int8", *["bfloat16"] * (head.family == "DistilBert" and not keeping)):
        models = [minidistil.load(folder, backend=name, precision=precision, threads=2) for name in ("engine", "exact")]
        got, want = (model(**inputs) for model in models)
        assert list(got) == list(want) != []
        for name in want:
            assert_same_bits(got[name], want[name], f"{precision} {name}")
            assert np.isfinite(want[name]).all()
        assert [model.precision for model in models] == [precision] * 2


@every_precision
@every_kind
@pytest.mark.parametrize("heads", [False, True], ids=["one bias", "each head's"])
def test_attentions_and_a_bias(kind: str, precision: str, heads: bool) -> None:
    n, of = 21, build.config(KINDS[kind]).n_heads if heads else 1
    batch = build.batch([ids(b, n) for b in range(3)], attention_bias=random_bias(of, n))
    assert_attentions([make(kind, precision, threads) for threads in (1, 2)], weights(kind, precision), batch)


@every_precision
@pytest.mark.parametrize("kind", ["distilbert", "mobilebert", "mobilebert without trigrams or a projection"])
def test_embeddings_given_replace_the_words_only(kind: str, precision: str) -> None:
    """They are float32 rows of the caller's, of whatever numbers."""
    config, own = build.config(KINDS.get(kind) or VARIATIONS[kind]), weights(kind, precision)
    backend, words = Engine(config, own, threads=2), own.encoder.embeddings.word_embeddings
    batch = build.batch([ids(0, 9), ids(1, 5)])
    assert isinstance(words, NarrowTable)
    for rows in (words[batch.input_ids], np.random.default_rng(0).standard_normal((14, words.shape[1]), np.float32)):
        embeds = PackedBatch(None, batch.position_ids, None, np.ascontiguousarray(rows), batch.offsets)
        got = backend.encode(embeds, hidden_states=True)
        want = Reference(config, own, exact).encode(embeds, hidden_states=True)
        for a, b in zip(got.hidden_states or (), want.hidden_states or (), strict=True):
            assert_same_bits(a, b)
        some = np.array([3, 11])
        assert_same_bits(backend.encode(embeds, rows=some).last, want.last[some])
    given_words = PackedBatch(None, batch.position_ids, None, words[batch.input_ids], batch.offsets)
    assert_same_bits(backend.encode(given_words).last, backend.encode(batch).last)


@pytest.mark.parametrize("precision", ["int8", KEEPING])
def test_what_is_not_finite_stays_in_its_sentence(precision: str) -> None:
    """A row that has no scale is NaN after the product, as in the reference."""
    config, own = build.config(SMALL), weights("distilbert", precision)
    batch = build.batch([ids(0, 9), ids(1, 5)])
    table = own.encoder.embeddings.word_embeddings
    assert isinstance(table, NarrowTable)
    rows = table[batch.input_ids]
    rows[2, 7] = np.inf
    rows[10] = 0
    embeds = PackedBatch(None, batch.position_ids, None, rows, batch.offsets)
    got, want = make("distilbert", precision, 2).encode(embeds), Reference(config, own, exact).encode(embeds)
    assert_same_bits(got.last, want.last)
    assert np.isnan(want.last[:9]).all()
    assert np.isfinite(want.last[9:]).all()


# -- company ---------------------------------------------------------------------------------------------------------


@functools.cache
def alone(kind: str, precision: str, seed: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """On one thread."""
    return checks.alone(make(kind, precision), ids(seed, length))


def everything(*kinds: str) -> list[np.ndarray]:
    """What models of narrow weights give for some sentences, for a comparison of machines."""
    cases = [(kind, precision) for kind in kinds or KINDS for precision in NARROW]
    return [x for kind, precision in cases for n in (1, 40, 145) for x in alone(kind, precision, n, n)]


@given(
    st.sampled_from(list(KINDS)), st.sampled_from(NARROW), companies, st.sampled_from([1, 2, 3]),
    st.sampled_from([1, 64, 2048]), st.booleans(), st.data(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_company_order_threads_and_passes_change_no_bit(
    kind: str,
    precision: str,
    company: list[tuple[int, int]],
    threads: int,
    tokens: int,
    apart: bool,
    data: st.DataObject,
) -> None:
    rows = data.draw(st.lists(st.integers(0, sum(length for _, length in company) - 1), max_size=12))
    assert_same_in_company(
        make(kind, precision, threads), [ids(*s) for s in company], [alone(kind, precision, *s) for s in company],
        build.limits(threads, tokens, apart), rows,
    )  # fmt: skip


def test_forked_children_give_the_same() -> None:
    want = {precision: digest(*alone("distilbert", precision, 0, 40)) for precision in NARROW}
    batch = build.batch([ids(0, 40)])

    def again() -> None:
        for precision in NARROW:
            encoded = make("distilbert", precision, 2).encode(batch, hidden_states=True)
            logits = make("distilbert", precision, 2).masked_lm(encoded.last)
            assert digest(np.stack(encoded.hidden_states or ()), logits) == want[precision]

    again()
    assert forks.ended(forks.child(again)) == [0]


# -- what is planned -------------------------------------------------------------------------------------------------


def planned(kind: str, keep: int = 0, changed: ModelWeights | None = None) -> list:
    own = changed or weights(kind, "int8", keep)
    return Engine(build.config(KINDS.get(kind) or VARIATIONS[kind]), own, threads=1).plan.encode().planned


def test_rows_are_coded_where_they_are_summed() -> None:
    """But for what the attention and an activation give; the last layer's norm has nobody to code for."""
    steps = planned("distilbert")
    coded = [(s.name, s.layer) for s in steps if isinstance(s.operands, SumRows) and s.operands.coded.address]
    of = ("sa_layer_norm", "output_layer_norm")
    assert coded == [("embeddings", None), *[(name, i) for i in range(2) for name in of]][:-1]
    apart = [(s.name, s.layer) for s in steps if isinstance(s.operands, CodeRows)]
    assert apart == [(f"{name}: codes", i) for i in range(2) for name in ("out_lin", "lin2")]
    assert sum(isinstance(s.operands, CodedProduct) for s in steps) == 2 * 4
    assert not any(isinstance(s.operands, Product) for s in steps)


def test_a_product_that_is_kept_is_coded_for_by_nobody() -> None:
    layer, *others = weights("distilbert", "int8").encoder.layers
    plain = build.model_weights(SMALL).encoder.layers[0]
    assert isinstance(layer, LayerWeights)
    assert isinstance(plain, LayerWeights)
    own = weights("distilbert", "int8")
    mixed = replace(own, encoder=replace(own.encoder, layers=(replace(layer, lin1=plain.lin1), *others)))
    steps = [s for s in planned("distilbert", changed=mixed) if s.layer == 0]
    assert [s.operands.coded.address for s in steps if s.name == "sa_layer_norm"] == [0]
    assert [type(s.operands) for s in steps if s.name == "lin1 + activation"] == [Product]


def test_one_copy_for_all_that_read_the_same() -> None:
    """MobileBERT's bottlenecks and values read the layer's input; where they smooth it otherwise, each has its own."""
    steps = [s for s in planned("mobilebert") if s.layer == 1]
    wide = {s.operands.x.address.name for s in steps if isinstance(s.operands, CodedProduct) and s.operands.w.k == 128}
    assert wide == {"codes of x", "codes of x 2", "codes of x 3"}
    assert sum(isinstance(s.operands, CodeRows) and s.operands.x.address.name == "x" for s in steps) == 2

    def plain(linear: Int8Linear) -> Int8Linear:
        return replace(linear, smooth=None)

    own = weights("mobilebert", "int8")
    layers = tuple(
        replace(
            layer,
            v_lin=plain(layer.v_lin),
            input_bottleneck=replace(layer.input_bottleneck, linear=plain(layer.input_bottleneck.linear)),
            attention_bottleneck=replace(layer.attention_bottleneck, linear=plain(layer.attention_bottleneck.linear)),
        )
        for layer in own.encoder.layers
    )
    alike = replace(own, encoder=replace(own.encoder, layers=layers))
    steps = [s for s in planned("mobilebert", changed=alike) if s.layer == 1]
    wide = [s.operands.x.address.name for s in steps if isinstance(s.operands, CodedProduct) and s.operands.w.k == 128]
    assert wide == ["codes of x"] * 3
    assert not any(isinstance(s.operands, CodeRows) and s.operands.x.address.name == "x" for s in steps)


def test_one_copy_for_all_that_keep_the_same_columns() -> None:
    """Of rows that are smoothed alike, too: a copy holds the columns that its products keep, and no others."""
    layer, *others = weights("distilbert", "int8").encoder.layers
    own, generator = weights("distilbert", KEEPING), np.random.default_rng(0)
    kept = own.encoder.layers[0].q_lin
    assert isinstance(layer, LayerWeights)
    assert isinstance(kept, Int8Linear)
    assert len(kept.columns) > 1
    lin1 = replace(layer.lin1, smooth=kept.smooth, kept=generator.standard_normal((400, len(kept.columns)), np.float32))
    mixed = replace(own, encoder=replace(own.encoder, layers=(replace(layer, lin1=lin1), *others)))
    steps = planned("distilbert", changed=mixed)
    by_name = {s.name: s.operands for s in steps if s.layer == 0 and isinstance(s.operands, CodedProduct)}
    assert {name: step.w.kept_columns for name, step in by_name.items()} == {
        "q, k, v": 0, "out_lin": 0, "lin1 + activation": len(kept.columns), "lin2": 0
    }  # fmt: skip
    (coding,) = [s.operands.coding for s in steps if s.layer == 0 and s.name == "sa_layer_norm"]
    assert coding.kept_columns == len(kept.columns)
    alike = replace(kept, kept=generator.standard_normal(kept.kept.shape, np.float32))
    layers = tuple(
        replace(layer, q_lin=kept, k_lin=alike, v_lin=kept) if i == 0 else layer
        for i, layer in enumerate((layer, *others))
    )
    config, changed = build.config(SMALL), replace(own, encoder=replace(own.encoder, layers=layers))
    batch = build.batch([ids(0, 9), ids(1, 5)])
    want = Reference(config, changed, exact).encode(batch).last
    assert_same_bits(Engine(config, changed, threads=1).encode(batch).last, want, "each with its own")


@every_precision
def test_the_profile_counts_bytes(precision: str) -> None:
    size = 2 if precision == "bfloat16" else 1
    backend, batch = make("distilbert", precision), build.batch([ids(0, 40), ids(1, 7)])
    shares = profile.profile(backend, batch, passes=3).shares
    kept = [
        sum(4 * w.kept.size for w in vars(layer).values() if isinstance(w, Int8Linear) and w.kept is not None)
        for layer in weights("distilbert", precision).encoder.layers
    ]
    assert all(kept) == (precision == KEEPING)
    assert sum(share.weights for share in shares if share.layer == 0) == kept[0] + size * (4 * 128**2 + 2 * 128 * 400)
    assert backend.plan.weight_bytes() == sum(kept) + 2 * size * (4 * 128 * 128 + 2 * 128 * 400)
    assert sum(share.operations for share in shares) == profile.pass_operations(backend, np.array([40, 7]))
    plain = Engine(build.config(SMALL), build.model_weights(SMALL), threads=1)
    assert backend.plan.token_operations() == plain.plan.token_operations()
    names = [share.name for share in shares if share.layer == 1]
    of_float32 = ["q, k, v", "attention", "out_lin", "sa_layer_norm", "lin1 + activation", "lin2", "output_layer_norm"]
    assert [name for name in names if ":" not in name] == of_float32
    assert names.count("lin2: codes") == (precision != "bfloat16")
    assert all(share.seconds > 0 for share in shares)


@pytest.mark.parametrize(
    ("kind", "table", "message"),
    [
        (
            "int8",
            lambda t: replace(t, codes=t.codes[:9], scale=t.scale[:9]),
            r"must be int8 of at least 300 rows, .* \[9,",
        ),
        ("int8", lambda t: replace(t, codes=t.codes.astype(np.int16)), "must be int8 of at least 300 rows"),
        ("int8", lambda t: replace(t, codes=t.codes[:, ::2]), ".* with strides"),
        ("int8", lambda t: replace(t, scale=t.scale[:-1]), r"its scale must be float32 \[300\], contiguous, got"),
        ("int8", lambda t: replace(t, scale=t.scale.astype(np.float64)), r"its scale must be float32 \[300\]"),
        ("int8", lambda t: replace(t, scale=np.repeat(t.scale, 2)[::2]), ".* with strides"),
        ("int8", lambda t: replace(t, scale=None), "must be bits of bfloat16, uint16, of at least 300 rows"),
        ("bfloat16", lambda t: replace(t, codes=t.codes.view(np.int16)), "must be bits of bfloat16, uint16, of"),
    ],
)
def test_tables_are_looked_at(kind: str, table, message: str) -> None:
    own = weights("distilbert", kind)
    embeddings = own.encoder.embeddings
    wrong = replace(embeddings, word_embeddings=table(embeddings.word_embeddings))
    with pytest.raises(ValueError, match=f"word_embeddings:? {message}"):
        Engine(build.config(SMALL), replace(own, encoder=replace(own.encoder, embeddings=wrong)), threads=1)


# -- any machine proves the others -----------------------------------------------------------------------------------


@every_precision
@pytest.mark.parametrize("name", goldens.MODELS)
def test_the_bytes_of_every_machine(name: str, precision: str) -> None:
    assert goldens.drawn(name) == goldens.golden()[name]["weights"], "NumPy draws other weights"
    backend = Engine(build.config(goldens.MODELS[name]), goldens.model(name, precision), threads=2)
    assert goldens.result(name, backend) == goldens.golden()[name][precision]
