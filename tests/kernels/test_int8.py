"""Products in whole numbers against the oracle: every remainder, the worst operands, rows that have no scale."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends.reference import exact, int8
from minidistil.kernels import layout
from minidistil.kernels.code import shipped, target
from minidistil.kernels.layout import address
from minidistil.kernels.products.int8_tile import ROWS
from minidistil.kernels.steps.code_rows import CodeRows
from minidistil.kernels.steps.coded_product import CodedProduct
from minidistil.kernels.steps.decode_rows import DecodeRows
from minidistil.kernels.steps.sum_rows import LAYER_NORM, NO_NORM, SumRows
from minidistil.kernels.steps.table import Matrix, Rows
from minidistil.kernels.steps.take import take
from minidistil.weights.model_weights import Norm
from minidistil.weights.narrow import Int8Linear, NarrowTable, kept_columns
from tests.bits import assert_same_bits
from tests.fence import fenced
from tests.kernels import whole_numbers as whole
from tests.kernels.values import awkward, normal, with_non_finite
from tests.processes import python

dots = pytest.mark.parametrize("dot", whole.DOTS.values(), ids=whole.DOTS)

LENGTHS = sorted({*range(1, 71), *(m + d for m in (96, 128, 192, 256, 312, 384, 768, 1024, 4096) for d in (-1, 0, 1))})


def weights(seed: int, n: int, k: int, most: int = 128) -> np.ndarray:
    """int8 [N, K] from -most to most, as far as there are such; within 64 every pair is limited."""
    low, high = max(-most, -128), min(most, 127)
    return np.random.default_rng([seed, n, k]).integers(low, high, (n, k), np.int8, endpoint=True)


def linear(seed: int, n: int, k: int, smooth: bool = False, most: int = 128) -> Int8Linear:
    scale, factors = np.exp(normal(seed, n)) / 100, np.exp(normal(seed + 1, k))
    return Int8Linear(weights(seed, n, k, most), scale, normal(seed + 2, n), factors if smooth else None)


def keeping(w: Int8Linear, columns: Sequence[int]) -> Int8Linear:
    """A product that keeps these columns, of other weights; its codes there stay as they are: they have no effect."""
    if not columns:
        return w
    n, k = w.codes.shape
    smooth = np.ones(k, np.float32) if w.smooth is None else w.smooth.copy()
    smooth[list(columns)] = 0
    return replace(w, smooth=smooth, kept=normal(9, n, len(columns)))


def some_columns(k: int, count: int) -> list[int]:
    """The first and the last of k, or one, and others between."""
    found = np.random.default_rng([k, count]).choice(k, min(k, count), replace=False)
    return sorted({0, k - 1, *found.tolist()} if count > 1 else found.tolist())


def check(m: int, n: int, k: int, dot: int, most: int = 128, smooth: bool = False, columns: Sequence[int] = ()) -> None:
    x, w = normal(1, m, k), keeping(linear(2, n, k, smooth, most), columns)
    assert_same_bits(whole.product(whole.coded(x, w.smooth), w, dot), int8.linear(x, w), f"M={m} N={n} K={k}")


# The product ----------------------------------------------------------------------------------------------------------


@dots
@pytest.mark.parametrize("most", [64, 128], ids=["limited", "any"])
def test_every_number_of_rows(dot: int, most: int) -> None:
    for m in range(1, 2 * ROWS[dot] + 2):
        check(m, 50, 64, dot, most)
    check(150, 50, 64, dot, most)


@dots
def test_every_width_of_the_last_panel(dot: int) -> None:
    for n in (*range(1, 50), 95, 96, 97, 144):
        check(5, n, 17, dot, most=64)


@dots
@pytest.mark.parametrize("most", [64, 128], ids=["limited", "any"])
def test_every_length(dot: int, most: int) -> None:
    for k in LENGTHS:
        check(9, 49, k, dot, most, smooth=k % 2 == 0)


@given(st.integers(1, 40), st.integers(1, 120), st.integers(1, 450), st.booleans(), st.sampled_from([64, 128]))
@settings(max_examples=40, deadline=None)
def test_any_shape(m: int, n: int, k: int, smooth: bool, most: int) -> None:
    for dot in whole.DOTS.values():
        check(m, n, k, dot, most, smooth)


@dots
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 63, 64, 768, 4096, 65000])
def test_the_worst_operands(dot: int, k: int) -> None:
    """Sums of the greatest size, of every sign, in every pair of neighbours; with zero points at both ends."""
    signs = np.array([[-128, -128, -128, -128], [127] * 4, [127, -128] * 2, [-128, 127] * 2, [127, 127, -128, -128]])
    weight = np.tile(signs.astype(np.int8), (10, -(-k // 4)))[:, :k]
    codes = np.tile(np.array([[255] * 4, [255, 0] * 2, [0, 255] * 2, [255, 254, 1, 0]], np.uint8), (3, -(-k // 4)))
    zero = np.arange(12) * 255 // 11
    whole.check_integers(np.ascontiguousarray(codes[:, :k]), weight, zero, dot)


@dots
def test_pairs_at_their_limit(dot: int) -> None:
    """Neighbours that add up to 128, or to -128, by 255: the greatest sums that sixteen bits hold, in every place."""
    pairs = np.array([(w, sign * 128 - w) for sign in (1, -1) for w in range(-128, 128) if abs(sign * 128 - w) < 128])
    pairs = pairs[(pairs >= 0).all(axis=1) | (pairs <= 0).all(axis=1)].astype(np.int8)
    weight = np.tile(pairs.reshape(-1), (48, 1))
    assert layout.limited(weight).all()
    assert {*pairs.astype(int).sum(axis=1)} == {128, -128}
    whole.check_integers(np.full((9, weight.shape[1]), 255, np.uint8), weight, np.full(9, 7), dot)


@dots
@pytest.mark.parametrize("pair", [(64, 65), (127, 2), (-64, -65), (-128, -1), (127, 127), (-128, -128)], ids=str)
def test_a_pair_beyond_its_limit(dot: int, pair: tuple[int, int]) -> None:
    """One pair of one column, in the second panel of two: that panel is not limited, and its sums are exact still."""
    weight = weights(1, 96, 64, most=64)
    weight[70, 10:12] = pair
    assert layout.limited(weight).tolist() == [1, 0]
    whole.check_integers(np.full((9, 64), 255, np.uint8), weight, np.arange(9), dot)


def test_what_pairs_are_added_in_is_too_small_beyond_the_limit() -> None:
    """If a panel is said to be limited that is not, sums are wrong: the flag is looked at, and it is needed."""
    if target.target().lanes == 4:
        pytest.skip("64-bit ARM has no sums of pairs")
    weight = np.full((48, 64), 127, np.int8)
    w, codes = Int8Linear(weight, *np.float32([[1] * 48, [0] * 48])), np.full((3, 64), 255, np.uint8)
    rows = whole.given(codes, np.ones(3), np.zeros(3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "limited", lambda weight: np.ones(1, np.int32))
        lie = whole.product(rows, w, layout.DOT_PAIRS)
    assert (whole.product(rows, w, layout.DOT_PAIRS) == 255 * 127 * 64).all()
    assert (lie == 32767 * 32).all()


@dots
@pytest.mark.parametrize("name", ["gelu", "relu", "tanh"])
def test_the_activation_of_a_product(dot: int, name: str) -> None:
    for m, n in ((1, 48), (9, 100), (20, 7)):
        x, w = normal(1, m, 60), linear(2, n, 60)
        got = whole.product(whole.coded(x), w, dot, layout.ACTIVATIONS[name])
        assert_same_bits(got, exact.activation(name, int8.linear(x, w)))


@dots
def test_scales_of_every_size(dot: int) -> None:
    """What is rounded, what overflows and what is subnormal after the sums: the oracle's bits."""
    w = linear(1, 60, 70)
    scale, bias = np.abs(awkward(2, 60)) + np.float32(1e-45), awkward(3, 60)
    scale[::7] = np.float32([3e38, 1e-38, 1e-45, 1, 2.0**-126, 2.0**127, 1e30, 1e-30, 3e38])
    w = Int8Linear(w.codes, scale, bias)
    for x in (normal(4, 9, 70), normal(5, 9, 70) * np.float32(1e36), normal(6, 9, 70) * np.float32(1e-28)):
        want = int8.linear(x, w)
        assert_same_bits(whole.product(whole.coded(x), w, dot), want)
    assert np.isfinite(want).all()


@pytest.mark.parametrize(
    ("lanes", "flag", "without"),
    [(16, "avx512_vnni", layout.DOT_PAIRS), (8, "avx_vnni", layout.DOT_PAIRS), (4, "asimddp", layout.DOT_EXACT)],
)
def test_who_is_given_instructions_of_its_own(
    monkeypatch: pytest.MonkeyPatch, lanes: int, flag: str, without: int
) -> None:
    """By what the system says of the CPU, and by the code that runs: another width needs other instructions."""
    monkeypatch.setattr(target, "target", lambda: target.Target("some", lanes))
    others = {"avx512_vnni", "avx_vnni", "asimddp"} - {flag}
    for flags, want in (({flag}, layout.DOT_NATIVE), (others, without), (set(), without)):
        monkeypatch.setattr(shipped, "flags", lambda flags=flags: flags)
        assert target.dot() == want


@pytest.mark.skipif(sys.platform != "linux", reason="compares what Linux and LLVM say")
def test_elsewhere_llvm_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    want = target.dot()
    monkeypatch.setattr(target.sys, "platform", "another")
    monkeypatch.setattr(shipped, "flags", set)
    assert target.dot() == want


# Rows -----------------------------------------------------------------------------------------------------------------


def check_rows(x: np.ndarray, smooth: np.ndarray | None = None) -> whole.Rows:
    with np.errstate(all="ignore"):
        want = int8.code_rows(x if smooth is None else x * smooth)
    got = whole.coded(x, smooth)
    assert_same_bits(got.scale, want.scale, "scales")
    assert (got.zero == want.zero).all()
    assert (got.codes == want.codes).all(), f"first in row {np.argwhere(got.codes != want.codes)[0]}"
    assert_same_bits(got.kept, x[:, kept_columns(smooth)], "columns that are kept")
    return got


@pytest.mark.parametrize("smooth", [False, True])
def test_rows_of_every_length(smooth: bool) -> None:
    for k in LENGTHS:
        check_rows(normal(1, 5, k) * np.float32(3) - np.float32(1), np.exp(normal(2, k)) if smooth else None)


def test_rows_of_one_sign_of_zeros_and_of_one_value() -> None:
    for k in (1, 3, 16, 17, 100):
        x = np.abs(normal(1, 8, k))
        x[1], x[2], x[3], x[4], x[5] = -x[1], 0, -0.0, 7.25, -7.25
        got = check_rows(x)
        assert got.zero.tolist()[:6] == [0, 255, 0, 0, 0, 255]
        assert (got.scale[2:4] == 1).all()
        assert (got.codes[4] == 255).all()


def test_ties_go_to_the_even_code() -> None:
    """Steps of one: halves between two codes, and a zero point that is a half itself."""
    halves = np.arange(-127.5, 128, dtype=np.float32)
    x = np.stack([np.resize(halves, 300), np.resize(halves + np.float32(0.5), 300)])
    got = check_rows(x)
    assert got.zero[0] == 128
    assert {0, 255} <= {*got.codes[0].tolist()}


def test_products_that_are_rounded_twice() -> None:
    """A number times the steps is rounded to float32, and then to a code: one rounding leads some of them astray."""
    x = normal(1, 512, 4096)
    width = x.max(axis=1).astype(np.float64) - x.min(axis=1)
    steps = (255 / width).astype(np.float32)[:, None]
    assert (np.rint(x * steps) != np.rint(x.astype(np.float64) * steps)).any()
    check_rows(x)


def test_rows_of_every_magnitude() -> None:
    """Subnormal, tiny and huge; ranges on both sides of the smallest; the greatest float32 of both signs."""
    greatest = np.finfo(np.float32).max
    rows = [awkward(seed, 50) for seed in range(60)]
    rows += [normal(seed, 50) * np.float32(2) ** np.float32(power) for seed, power in enumerate(range(-149, 126))]
    rows += [np.resize(np.float32(pair), 50) for pair in ((greatest, -greatest), (greatest, 0), (1e-45, -1e-45))]
    for edge in np.float32([2.0**-100, -(2.0**-100), np.nextafter(np.float32(2.0**-100), 0)]):
        rows.append(np.resize(np.append(np.float32(0), edge), 50))
    got = check_rows(np.stack(rows))
    assert got.scale[-3:].tolist() == [np.float32(2.0**-100 / 255)] * 2 + [1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -np.nan], ids=str)
def test_what_is_not_finite_makes_its_row_nan(value: float) -> None:
    """Anywhere in the row; in the sum, and no other row."""
    for k in (1, 5, 16, 33, 200):
        w = linear(1, 50, k)
        for place in {0, k // 2, k - 1, k // 16 * 16 - 1} & {*range(k)}:
            x = normal(2, 3, k)
            x[1, place] = value
            rows = check_rows(x)
            for dot in whole.DOTS.values():
                got = whole.product(rows, w, dot)
                assert np.isnan(got[1]).all()
                assert_same_bits(got, int8.linear(x, w))
    check_rows(with_non_finite(normal(3, 50, 40), 4))


def test_what_overflows_when_it_is_smoothed() -> None:
    x, smooth = normal(1, 3, 40), np.ones(40, np.float32)
    x[1, 7], smooth[7] = 1e30, 1e20
    assert np.isnan(check_rows(x, smooth).scale).tolist() == [False, True, False]


@pytest.mark.parametrize("n", [1, 5, 16, 50, 768])
@pytest.mark.parametrize("smooth", ["", "smooth", "kept"])
def test_sums_that_are_coded_where_they_are_made(n: int, smooth: str) -> None:
    a, b, norm = normal(1, 7, n), normal(2, 7, n), Norm(normal(3, n), normal(4, n), 1e-12)
    factors = np.exp(normal(5, n)) if smooth else None
    if factors is not None and smooth == "kept":
        factors[some_columns(n, 9)] = 0
    columns = kept_columns(factors)
    out, rows, none = np.empty((7, n), np.float32), whole.blank_rows(7, n, len(columns)), Rows(0, 0, 0)
    for how, want in (
        ((LAYER_NORM, address(norm.weight), address(norm.bias), 1e-12), exact.layer_norm(a + b, norm)),
        ((NO_NORM, 0, 0, 0.0), a + b),
    ):
        terms = (Rows(address(a), n, 0), Rows(address(b), n, 0), none)
        take(SumRows(Matrix(address(out), n), *terms, 7, n, *how, rows.matrix, whole.coding(factors, columns)))
        rows.check()
        assert_same_bits(out, want)
        apart = whole.coded(want, factors)
        assert (rows.whole == apart.whole).all()


# Tables ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 33, 50, 768])
@pytest.mark.parametrize("kind", ["int8", "bfloat16"])
def test_rows_of_a_table(kind: str, n: int) -> None:
    rng = np.random.default_rng(n)
    if kind == "int8":
        table = NarrowTable(weights(1, 30, n), np.abs(awkward(2, 30)))
    else:
        table = NarrowTable(rng.integers(0, 2**16, (30, n)).astype(np.uint16))
    ids = rng.integers(-1, 30, 20).astype(np.int32)
    ids[:4] = -1, 0, 29, -(2**31)
    out = np.full((21, n + 3), 3e33, np.float32)
    take(DecodeRows(Matrix(address(out), n + 3), address(table.codes), address(table.scale), address(ids), 20, n))
    want = np.where((ids < 0)[:, None], np.float32(0), table[np.maximum(ids, 0)])
    assert_same_bits(np.ascontiguousarray(out[:20, :n]), want)
    assert (out[20] == np.float32(3e33)).all()
    assert (out[:, n:] == np.float32(3e33)).all()


# Memory ---------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="pages are closed in Linux's way")
def test_nothing_beyond_an_array_is_touched() -> None:
    """Every array ends where a page begins that may not be touched; a process that touches it dies."""
    program = "from tests.kernels import test_int8; test_int8.at_the_end_of_memory(); print('done')"
    assert python(program).split() == ["done"]


def at_the_end_of_memory() -> None:
    for m, n, k, kept in (
        *((1, 1, 1, 0), (7, 48, 64, 0), (9, 50, 67, 0), (3, 97, 5, 0), (8, 96, 129, 0), (2, 49, 16, 0)),
        *((1, 1, 1, 1), (7, 48, 64, 2), (9, 50, 67, 16), (3, 97, 5, 5), (8, 96, 129, 1), (2, 49, 16, 17)),
    ):
        w = keeping(linear(2, n, k, True, most=64), range(k)[-kept:] if kept else [])
        ld, size = layout.coded_row(k, len(w.columns)), layout.beyond_codes(k) + len(w.columns)
        x, rows = fenced(normal(1, m, k)), fenced(np.zeros((ld * (m - 1) + size) * 4, np.uint8))
        smooth, out = fenced(np.asarray(w.smooth)), fenced(np.zeros((m, n), np.float32))
        columns, coded = fenced(w.columns) if kept else w.columns, Matrix(address(rows), ld)
        arrays = [fenced(array) if array.size else array for array in whole.packed(w).arrays]
        weight, coding = whole.operands(arrays, k, n), whole.coding(smooth, columns)
        own, none = Rows(address(x), k, 0), Rows(0, 0, 0)
        take(SumRows(Matrix(address(x), k), own, none, none, m, k, coded=coded, coding=coding))
        take(CodeRows(Matrix(address(x), k), coded, m, k, coding))
        for dot in whole.DOTS.values():
            take(CodedProduct(coded, weight, Matrix(address(out), n), m, 0, dot))
            assert_same_bits(out.copy(), int8.linear(x, w))
        ids, scale = fenced(np.arange(m, dtype=np.int32)), fenced(np.ones(m, np.float32))
        for table, own_scale in ((weights(3, m, k), scale), (np.ones((m, k), np.uint16), None)):
            narrow = fenced(table)
            take(DecodeRows(Matrix(address(x), k), address(narrow), address(own_scale), address(ids), m, k))
