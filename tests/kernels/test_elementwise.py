"""GELU, the exponentials, LayerNorm and the embeddings against `exact`, over every remainder and value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends.reference import exact
from minidistil.kernels.layout import GELU, address
from minidistil.kernels.products import attention
from minidistil.kernels.steps.activate import Activate
from minidistil.kernels.steps.sum_rows import GAIN_SHIFT, LAYER_NORM, SumRows
from minidistil.kernels.steps.table import Matrix, Rows
from minidistil.kernels.steps.take import take
from minidistil.weights.model_weights import EmbeddingWeights, Norm
from tests.bits import assert_same_bits
from tests.kernels.values import awkward, normal, with_non_finite

NONE = Rows(0, 0, 0)


def run_gelu(x: np.ndarray) -> np.ndarray:
    out = x.copy()
    take(Activate(address(out), out.size, GELU))
    return out


@pytest.mark.parametrize("n", range(1, 50))
def test_gelu_of_every_length(n: int) -> None:
    x = normal(1, n, scale=3)
    assert_same_bits(run_gelu(x), exact.gelu(x))


def test_gelu_of_every_magnitude() -> None:
    """Every 2,048th float32 there is: both signs, subnormals, infinities, NaN."""
    x = np.arange(0, 2**32, 2048, dtype=np.uint64).astype(np.uint32).view(np.float32)
    got = run_gelu(x)
    assert_same_bits(got, exact.gelu(x))
    assert np.isnan(got[np.isnan(x)]).all()
    assert np.isfinite(got).mean() > 0.9


@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_gelu_of_any_floats(values: list[float]) -> None:
    x = np.array(values, np.float32)
    assert_same_bits(run_gelu(x), exact.gelu(x))


def run_layer_norm(x: np.ndarray, gain: np.ndarray, shift: np.ndarray, eps: float = 1e-12) -> np.ndarray:
    out, n = np.full_like(x, np.nan), x.shape[1]
    norm = (LAYER_NORM, address(gain), address(shift), eps)
    take(SumRows(Matrix(address(out), n), Rows(address(x), n, 0), NONE, NONE, len(x), n, *norm))
    return out


@pytest.mark.parametrize("n", [*range(1, 40), 100, 127, 128, 129, 255, 256, 257, 312, 384, 640, 768, 1000, 1024, 1152])
def test_layer_norm_of_every_width(n: int) -> None:
    """Remainders of lanes, of vectors in a chunk, of chunks in the binary counter."""
    x, gain, shift = normal(1, 3, n) + np.float32(0.5), 1 + normal(2, n, scale=0.1), normal(3, n)
    got = run_layer_norm(x, gain, shift)
    assert_same_bits(got, exact.layer_norm(x, Norm(gain, shift, 1e-12)), f"N={n}")
    if n > 1:
        assert np.isfinite(got).all()
        assert got.any()


@given(st.integers(1, 600), st.sampled_from([1e-12, 1e-5]), st.booleans(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_layer_norm_of_any_values(n: int, eps: float, non_finite: bool, seed: int) -> None:
    x = awkward(seed, 2, n)
    if non_finite:
        x = with_non_finite(x, seed)
    gain, shift = normal(2, n), normal(3, n)
    assert_same_bits(run_layer_norm(x, gain, shift, eps), exact.layer_norm(x, Norm(gain, shift, eps)))


@pytest.mark.parametrize("n", [5, 16, 48, 100])
def test_residual_is_added_before_the_norm(n: int) -> None:
    rows, ld = 4, n + 9
    x, y = np.full((rows, ld), 7, np.float32), np.full((rows, ld + 2), np.nan, np.float32)
    x[:, :n], y[:, :n] = normal(1, rows, n), normal(2, rows, n)
    gain, shift = normal(3, n), normal(4, n)
    want = exact.layer_norm(x[:, :n] + y[:, :n], Norm(gain, shift, 1e-12))
    out, norm = Matrix(address(x), ld), (LAYER_NORM, address(gain), address(shift), 1e-12)
    take(SumRows(out, Rows(*out, 0), Rows(address(y), ld + 2, 0), NONE, rows, n, *norm))
    assert_same_bits(np.ascontiguousarray(x[:, :n]), want)
    assert (x[:, n:] == 7).all(), "written beyond the row"


@pytest.mark.parametrize("n", [5, 16, 48, 100])
@pytest.mark.parametrize("terms", [1, 2, 3])
def test_gain_and_shift_of_a_sum_are_rounded_each(n: int, terms: int) -> None:
    x, y, z, gain, shift = (awkward(i, 6, n) for i in range(5))
    added = (y, z)[: terms - 1]
    want = x
    for array in added:
        want = want + array
    want = want * gain[0] + shift[0]
    places = [Rows(address(array), n, 0) for array in (x, *added)]
    norm = (GAIN_SHIFT, address(gain), address(shift))
    take(SumRows(Matrix(address(x), n), *places, *[NONE] * (3 - terms), 6, n, *norm))
    assert_same_bits(x, want)


@pytest.mark.parametrize("n", [*range(1, 40), 130, 2100, 8200])
@pytest.mark.parametrize("scale", [0.1, 1.0, 50.0])
@pytest.mark.parametrize("biased", [False, True])
def test_softmax_numerators_of_every_length(n: int, scale: float, biased: bool) -> None:
    """Scores of up to hundreds: exponentials that vanish are exact zeros. Rows that fit a cache together and do not."""
    rows, width = 7, -(-n // 16) * 16
    scores = normal(1, rows, n, scale=scale)
    x = np.full((rows, width + 16), np.nan, np.float32)
    x[:, :n], x[:, width:] = scores, 7
    bias = normal(2, rows, n + 3) if biased else None
    tops, reciprocals = np.zeros(rows + 1, np.float32), np.zeros(rows + 1, np.float32)
    where = map(address, (tops, reciprocals))
    attention.softmax_numerators(address(x), width + 16, rows, n, np.float32(0.125), address(bias), n + 3, *where)
    s = scores * np.float32(0.125) if bias is None else exact.fma(scores, np.float32(0.125), bias[:, :n])
    e = exact.exp_u20(s - s.max(axis=1, keepdims=True))
    assert (tops[:rows] == s.max(axis=1)).all()
    assert_same_bits(x[:, :n], e)
    assert not x[:, n:width].any()
    assert (x[:, width:] == 7).all()
    assert_same_bits(reciprocals[:rows], np.float32(1) / exact.sum8(e).ravel())
    assert tops[rows] == reciprocals[rows] == 0


def test_the_exponential_of_a_score_wherever_it_may_differ() -> None:
    """Some of all numbers up to zero, and all where results are about to vanish; no score is above the greatest."""
    some = np.arange(0x80000000, 0xFF800001, 1009, np.uint32)
    vanishing = np.arange(*np.array([-86.25, -87.5], np.float32).view(np.uint32), dtype=np.uint32)
    x = np.concatenate([some, vanishing, np.zeros(-(len(some) + len(vanishing)) % 16, np.uint32)]).view(np.float32)
    want, got = exact.exp_u20(x), x.copy()
    tops, reciprocals = np.empty(1, np.float32), np.empty(1, np.float32)
    # One row, of which zero is the greatest.
    attention.softmax_numerators(
        address(got), len(got), 1, len(got), np.float32(1), 0, 0, address(tops), address(reciprocals)
    )
    assert_same_bits(got, want)
    assert ((want > 0) & (want < 1e-37)).any()
    assert (want == 0).any()


@pytest.mark.parametrize("n", [*range(1, 35), 100])
@pytest.mark.parametrize("with_types", [False, True])
@pytest.mark.parametrize("given_embeddings", [False, True])
def test_embeddings(n: int, with_types: bool, given_embeddings: bool) -> None:
    tokens, ld = 5, n + 3
    words, types, positions = normal(1, 11, n), normal(2, 2, n), normal(3, 7, n)
    ids, kinds, places = (np.array(a, np.int32) for a in ([10, 0, 3, 3, 9], [0, 1, 1, 0, 1], [0, 6, 2, 3, 4]))
    embeds = normal(4, tokens, n)
    weights = EmbeddingWeights(words, positions, types if with_types else None, Norm(words[0], words[0], 0.0))
    want = exact.embed(weights, None if given_embeddings else ids, places, kinds, embeds if given_embeddings else None)
    out = np.full((tokens, ld), np.nan, np.float32)
    source = Rows(address(embeds), n, 0) if given_embeddings else Rows(address(words), n, address(ids))
    others = [Rows(address(types), n, address(kinds))] * with_types + [Rows(address(positions), n, address(places))]
    take(SumRows(Matrix(address(out), ld), source, *others, *[NONE] * (2 - len(others)), tokens, n))
    assert_same_bits(np.ascontiguousarray(out[:, :n]), want)
    assert np.isnan(out[:, n:]).all(), "written beyond the row"


@pytest.mark.parametrize("n", range(1, 10))
def test_layer_norm_of_numbers_that_overflow(n: int) -> None:
    x = np.full((2, n), 3e38, np.float32)
    x[1, ::2] = -3e38
    gain, shift = normal(2, n), normal(3, n)
    assert_same_bits(run_layer_norm(x, gain, shift), exact.layer_norm(x, Norm(gain, shift, 1e-12)))
