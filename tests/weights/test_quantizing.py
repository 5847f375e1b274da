"""A model in int8: which parts are, what is smoothed by what, and that no order of sums decides a byte of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidistil.backends.reference import int8
from minidistil.kernels import layout
from minidistil.weights import open_checkpoint, read_model
from minidistil.weights.model_weights import LayerWeights, Linear, ModelWeights, is_tied
from minidistil.weights.narrow import Int8Linear, NarrowTable
from minidistil.weights.quantizing import farthest, quantize_product, quantized, tables
from minidistil.weights.quantizing import products as products_of
from minidistil.weights.ranges import _product, estimated_ranges
from tests.families import VARIATIONS
from tests.synthetic import write_checkpoint

FAMILIES = ("distilbert untied", "roberta of odd sizes", "albert of two groups", "electra with relu", "mobilebert")


def read(folder: Path, config: dict[str, Any]) -> ModelWeights:
    return read_model(open_checkpoint(write_checkpoint(folder, config)))


@pytest.fixture
def weights(distilbert_small: Path) -> ModelWeights:
    return read_model(open_checkpoint(distilbert_small))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family(name: str, tmp_path: Path) -> None:
    weights = read(tmp_path, VARIATIONS[name])
    made = quantized(weights)
    assert len(products_of(made)) == len(products_of(weights)) >= 4
    for before, after in zip(products_of(weights), products_of(made), strict=True):
        assert before.name == after.name
        first = after.linears[0]
        for old, new in zip(before.linears, after.linears, strict=True):
            assert isinstance(new, Int8Linear)
            assert isinstance(first, Int8Linear)
            assert new.smooth is first.smooth  # one coded input serves them all
            assert new.bias is old.bias
            assert layout.limited(new.codes).all()
            assert np.abs(new.weight - old.weight).max() < 0.03 * np.abs(old.weight).max()
        smoothed = isinstance(first, Int8Linear) and first.smooth is not None
        assert smoothed == (before.normed and name != "mobilebert")
    assert all(isinstance(table, NarrowTable) for table in tables(made).values())
    embeddings = made.encoder.embeddings
    assert embeddings.token_type_embeddings is weights.encoder.embeddings.token_type_embeddings
    assert [a is b for a in made.encoder.layers for b in made.encoder.layers] == [
        a is b for a in weights.encoder.layers for b in weights.encoder.layers
    ]
    if weights.masked_lm is not None and made.masked_lm is not None and weights.masked_lm.extension is None:
        tied = is_tied(weights.masked_lm.vocab_projector, weights.encoder.embeddings.word_embeddings)
        assert is_tied(made.masked_lm.vocab_projector, embeddings.word_embeddings) == tied
        assert isinstance(made.masked_lm.vocab_projector, Int8Linear)


def test_no_order_of_sums_shows(weights: ModelWeights) -> None:
    """With the columns between lin1 and lin2 in another order, everything is the same, in that order."""
    order = np.random.default_rng(0).permutation(len(weights.encoder.layers[0].lin1.bias))  # type: ignore[union-attr]

    def moved(layer: Any) -> LayerWeights:
        lin1 = Linear(layer.lin1.weight[order], layer.lin1.bias[order])
        return replace(layer, lin1=lin1, lin2=Linear(layer.lin2.weight[:, order].copy(), layer.lin2.bias))

    first = weights.encoder.layers[0]
    x = np.random.default_rng(1).standard_normal((9, len(order)))
    assert np.array_equal(_product(x, first.lin2), _product(x[:, order], moved(first).lin2))  # type: ignore[union-attr]
    layers = tuple(map(moved, weights.encoder.layers))
    other = replace(weights, encoder=replace(weights.encoder, layers=layers))
    found, again = estimated_ranges(weights), estimated_ranges(other)
    for before, after in zip(products_of(weights), products_of(other), strict=True):
        expected = found[id(before.linears[0])]
        expected = expected[order] if before.name.endswith("lin2") else expected
        assert np.array_equal(again[id(after.linears[0])], expected)


def test_words_that_stand_out_are_found(weights: ModelWeights) -> None:
    """One word in all the vocabulary is far out in one column: the ranges know."""
    table = np.array(weights.encoder.embeddings.word_embeddings)
    table[777, 33] = 50 * np.abs(table).max()
    embeddings = replace(weights.encoder.embeddings, word_embeddings=table)
    other = replace(weights, encoder=replace(weights.encoder, embeddings=embeddings), masked_lm=None)
    first = products_of(other)[0].linears[0]
    found = estimated_ranges(other)[id(first)]
    assert found.argmax() == 33
    assert found[33] == pytest.approx(np.sqrt(len(found)), rel=0.2)  # all of its length, as its norm has it


def test_smoothing_helps_where_a_column_is_large() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((50, 96)).astype(np.float32)
    x[:, 7] *= 60
    w = Linear(rng.standard_normal((48, 96)).astype(np.float32), rng.standard_normal(48).astype(np.float32))
    expected = x.astype(np.float64) @ w.weight.T.astype(np.float64) + w.bias
    error = {}
    for name, columns in {"plain": None, "smooth": np.abs(x).max(axis=0)}.items():
        (made,) = quantize_product((w,), columns)
        error[name] = np.abs(int8.linear(x, made) - expected).mean()
    assert error["smooth"] < error["plain"] / 3
    for columns in (np.zeros(96, np.float32), np.full(96, 1e-38, np.float32), np.geomspace(1e-37, 1e38, 96)):
        (made,) = quantize_product((w,), columns.astype(np.float32))
        assert made.smooth is None or (np.isfinite(made.smooth).all() and (made.smooth > 0).all())
    with pytest.raises(ValueError, match="ranges of inputs must be finite"):
        quantize_product((w,), np.full(96, np.nan, np.float32))


def test_given_ranges_decide(weights: ModelWeights) -> None:
    k = weights.encoder.layers[0].q_lin.weight.shape[1]
    ranges = {"layer.0.qkv": np.ones(k, np.float32)}
    ranges["layer.0.qkv"][5] = 100
    first, second = quantized(weights, ranges).encoder.layers
    smooth = first.q_lin.smooth  # type: ignore[union-attr]
    assert smooth.argmin() == 5
    assert second.q_lin.smooth is None  # type: ignore[union-attr]
    plain = quantized(weights, ranges, smooth=False).encoder.layers[0]
    assert plain.q_lin.smooth is None  # type: ignore[union-attr]


def test_columns_that_reach_farthest_stay_float32(weights: ModelWeights) -> None:
    """Of every product, also of those that are not smoothed; q, k, v the same; nothing else of the model is another."""
    rng = np.random.default_rng(2)
    found = {p.name: rng.random(p.linears[0].weight.shape[1], np.float32) for p in products_of(weights)}
    for reach in found.values():
        reach[[70, 5, 31, 99, 98]] = 90, -80, 70, 60, 50
    counts = {name: -(-len(reach) // 100) for name, reach in found.items()}  # 1 %, rounded up
    columns = {name: sorted([70, 5, 31, 99][:count]) for name, count in counts.items()}
    found["layer.1.lin2"][:] = 1  # of equal ones, the first
    columns["layer.1.lin2"] = [*range(counts["layer.1.lin2"])]
    assert set(counts.values()) == {2, 4}
    made = quantized(weights, found, ["layer.1.out_lin"], keep_columns=0.01)
    for before, after in zip(products_of(weights), products_of(made), strict=True):
        if before.name == "layer.1.out_lin":
            assert after.linears == before.linears
            continue
        for old, new in zip(before.linears, after.linears, strict=True):
            assert isinstance(new, Int8Linear)
            assert new.columns.tolist() == columns[before.name], before.name
            assert new.smooth is after.linears[0].smooth  # type: ignore[union-attr]
            assert new.kept is not None
            assert new.kept.flags.c_contiguous
            assert np.array_equal(new.kept, old.weight[:, new.columns])
            assert not new.codes[:, new.columns].any()
            assert layout.limited(new.codes).all()
            rest = np.delete(new.smooth, new.columns)  # type: ignore[arg-type]
            assert (rest == 1).all() != before.normed
    plain = quantized(weights, found)
    for name, table in tables(made).items():
        assert np.array_equal(table.codes, tables(plain)[name].codes)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", FAMILIES)
def test_columns_of_every_family(name: str, tmp_path: Path) -> None:
    weights = read(tmp_path, VARIATIONS[name])
    found = {p.name: np.arange(p.linears[0].weight.shape[1], dtype=np.float32) for p in products_of(weights)}
    for made in (quantized(weights, found, keep_columns=0.05), *_by_the_weights_alone(weights, name == "mobilebert")):
        for product in products_of(made):
            for w in product.linears:
                assert isinstance(w, Int8Linear)
                assert len(w.columns) == -(-w.codes.shape[1] // 20)
                assert np.array_equal(w.columns, product.linears[0].columns)  # type: ignore[union-attr]


def _by_the_weights_alone(weights: ModelWeights, unknown: bool) -> list[ModelWeights]:
    if not unknown:
        return [quantized(weights, keep_columns=0.05), quantized(weights, keep_columns=0.05, smooth=False)]
    with pytest.raises(ValueError, match=r"nothing tells that of .*layer\.N\.feed_forwards\.N\.lin2.*: give texts"):
        quantized(weights, keep_columns=0.05)
    assert quantized(weights, keep=["*"], keep_columns=0.05).encoder.layers == weights.encoder.layers
    return []


def test_a_column_in_float32_counts_in_no_step() -> None:
    """Neither in a token's nor in a row's, nor in how the others are smoothed; and what it adds is exact."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((50, 96)).astype(np.float32)
    w = Linear(rng.standard_normal((48, 96)).astype(np.float32), rng.standard_normal(48).astype(np.float32))
    columns, rest = np.array([7, 40]), np.delete(np.arange(96), (7, 40))
    x[:, columns] *= np.float32(10000)
    w.weight[:, columns] *= 10000
    expected = x.astype(np.float64) @ w.weight.T.astype(np.float64) + w.bias
    for reach in (None, np.abs(x).max(axis=0)):
        (made,) = quantize_product((w,), reach, columns)
        (alone,) = quantize_product((Linear(w.weight * np.isin(np.arange(96), rest), w.bias),), reach, columns)
        assert np.array_equal(made.codes, alone.codes)
        assert np.array_equal(made.scale, alone.scale)
        (without,) = quantize_product((w,), reach)
        error, before = (np.abs(int8.linear(x, one) - expected).mean() for one in (made, without))
        assert error < before / 100
        # But for pairs, as others are neighbours then, the rest is what it is without them.
        (made,) = quantize_product((w,), reach, columns, limit_pairs=False)
        others = Linear(w.weight[:, rest].copy(), w.bias)
        (plain,) = quantize_product((others,), None if reach is None else reach[rest], limit_pairs=False)
        assert np.array_equal(made.codes[:, rest], plain.codes)
        assert np.array_equal(made.scale, plain.scale)
        if reach is not None:
            assert np.array_equal(made.smooth[rest], plain.smooth)  # type: ignore[index, arg-type]


@pytest.mark.parametrize(
    ("fraction", "size", "count"),
    # Rounded up of what is written: 0.07 * 100 in float64 is more than 7.
    [(0.01, 384, 4), (0.01, 300, 3), (0.07, 100, 7), (1e-9, 1536, 1), (0.999, 4, 4), (np.float64(0.25), 10, 3)],
)
def test_how_many_columns(fraction: float, size: int, count: int) -> None:
    reach = np.random.default_rng(4).permutation(size).astype(np.float32)
    found = farthest(reach, fraction)
    assert sorted(reach[found]) == list(range(size - count, size))
    assert (np.diff(found) > 0).all()


def test_no_layout_shows(weights: ModelWeights) -> None:
    """Rows that are coded one by one, or stored by columns, come out the same, kept columns too."""
    w, columns = weights.encoder.layers[0].lin1, np.array([3, 64, 127])  # type: ignore[union-attr]
    reach = np.abs(np.random.default_rng(5).standard_normal(128)).astype(np.float32)
    (made,) = quantize_product((w,), reach, columns)
    (again,) = quantize_product((Linear(np.asfortranarray(w.weight), w.bias),), reach, columns)
    parts = [quantize_product((w, Linear(w.weight[i : i + 1], w.bias[i : i + 1])), reach, columns)[1] for i in (0, 200)]
    for name in ("codes", "scale", "kept"):
        whole = getattr(made, name)
        assert getattr(again, name).tobytes() == whole.tobytes()
        assert [getattr(part, name).tobytes() for part in parts] == [whole[i].tobytes() for i in (0, 200)]


@pytest.mark.parametrize(
    ("fraction", "error", "message"),
    [
        (1, ValueError, "keep_columns must be a fraction, from 0 to below 1, such as 0.01; got 1$"),
        (-0.01, ValueError, "got -0.01$"),
        (float("nan"), ValueError, "got nan$"),
        ("0.01", TypeError, "keep_columns must be a number, got str"),
        (True, TypeError, "keep_columns must be a number, got bool"),
    ],
)
def test_fractions_that_are_none(weights: ModelWeights, fraction: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        quantized(weights, keep_columns=fraction)


def test_ranges_that_are_none(weights: ModelWeights) -> None:
    found = {p.name: np.ones(p.linears[0].weight.shape[1], np.float32) for p in products_of(weights)}
    found["layer.0.lin2"][3] = np.inf  # not smoothed: only its columns are chosen
    with pytest.raises(ValueError, match="ranges of inputs must be finite"):
        quantized(weights, found, keep_columns=0.01)
    del found["layer.0.lin2"], found["layer.1.lin2"]
    with pytest.raises(ValueError, match=r"nothing tells that of layer\.N\.lin2: give texts"):
        quantized(weights, found, keep_columns=0.01)
    quantized(weights, found, keep=["lin2"], keep_columns=0.01)


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        (["layer.1.qkv"], {"layer.1.qkv"}),
        (["layer.1.k_lin"], {"layer.1.qkv"}),
        (["lin2"], {"layer.0.lin2", "layer.1.lin2"}),
        (["layer.0"], {"layer.0.qkv", "layer.0.out_lin", "layer.0.lin1", "layer.0.lin2"}),
        (["layer.*.lin?"], {"layer.0.lin1", "layer.0.lin2", "layer.1.lin1", "layer.1.lin2"}),
        (["word_embeddings", "vocab_transform"], {"embeddings.word_embeddings", "vocab_transform"}),
        ((), set()),
    ],
)
def test_what_is_kept(weights: ModelWeights, keep: Any, kept: set[str]) -> None:
    made = quantized(weights, keep=keep)
    same = {p.name for p, q in zip(products_of(weights), products_of(made), strict=True) if p.linears == q.linears}
    same |= {name for name, table in tables(made).items() if isinstance(table, np.ndarray)}
    assert same == kept
    assert made.masked_lm is not None
    assert is_tied(made.masked_lm.vocab_projector, made.encoder.embeddings.word_embeddings)


def test_names_that_nothing_has_are_refused(weights: ModelWeights) -> None:
    with pytest.raises(
        ValueError, match=r"'lin3', 'layer.2', which nothing is called; there are layer.N.qkv, "
    ) as told:
        quantized(weights, keep=["lin3", "lin2", "layer.2"])
    assert "embeddings.word_embeddings" in str(told.value)
    with pytest.raises(TypeError, match="got one str"):
        quantized(weights, keep="lin2")
