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
from minidistil.weights.quantizing import products as products_of
from minidistil.weights.quantizing import quantize_product, quantized, tables
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
