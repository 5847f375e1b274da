"""The matrix product against `exact`: every remainder of rows, columns and blocks of k; weights of both widths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidistil.backends.reference import exact
from minidistil.kernels import layout
from minidistil.kernels.code import target
from minidistil.kernels.products import gemm, tile
from minidistil.kernels.steps.product import Product
from minidistil.kernels.steps.table import Matrix, Packed
from minidistil.kernels.steps.take import take
from minidistil.weights.model_weights import Linear
from minidistil.weights.narrow import rounded, widened
from tests.bits import assert_same_bits
from tests.kernels.values import normal, with_non_finite

each_width = pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bfloat16"])


def packed(w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """W float32, or bits uint16 of bfloat16, and its bias; nothing is there beyond them."""
    weight = np.full((layout.panels(len(w)), w.shape[1], layout.PANEL), 0x7FC0, w.dtype)
    layout.pack(w, weight, target.sliver())
    bias = np.zeros(len(weight) * layout.PANEL, np.float32)
    bias[: len(b)] = b
    return weight, bias


def check(m: int, n: int, k: int, non_finite: bool = False, bf16: bool = False) -> None:
    x, w, b = normal(1, m, k), normal(2, n, k, scale=0.2), normal(3, n)
    if non_finite:
        x, w = with_non_finite(x, 4), with_non_finite(w, 5)
    weight, bias = packed(rounded(w) if bf16 else w, b)
    out = np.full((m, len(bias)), np.nan, np.float32)
    matrix = Packed(layout.address(weight), layout.address(bias), k, len(bias), int(bf16))
    take(Product(Matrix(layout.address(x), k), matrix, Matrix(layout.address(out), len(bias)), m))
    want = exact.linear(x, Linear(widened(rounded(w)) if bf16 else w, b))
    assert_same_bits(np.ascontiguousarray(out[:, :n]), want, f"M={m} N={n} K={k}")
    if not non_finite:
        assert not out[:, n:].any(), "columns of padding are zero"
        assert np.isfinite(want).all()
    elif m * n * k > 1000:
        assert not np.isfinite(want).all()


@each_width
@pytest.mark.parametrize("m", [*range(1, 2 * tile.ROWS + 2), 100])
def test_every_number_of_rows(m: int, bf16: bool) -> None:
    check(m, 50, 64, bf16=bf16)


@each_width
@pytest.mark.parametrize("n", [*range(1, 50), 95, 96, 97, 144])
def test_every_width_of_the_last_panel(n: int, bf16: bool) -> None:
    check(5, n, 18 if bf16 else 17, bf16=bf16)


K = [1, 2, 3, 15, 16, 17, 31, 64, 191, 192, 193, 194, 256, 301, 312, 382, 383, 384, 385, 400, 575, 576, 768, 1200]
PAIRS = [2, 4, 6, 8, 14, 16, 18, 30, 32, 34, 64, 190, 192, 196, 256, 312, 380, 384, 386, 390, 400, 574, 576, 768, 1200]


@pytest.mark.parametrize(("k", "bf16"), [*((k, False) for k in K), *((k, True) for k in PAIRS)])
@pytest.mark.parametrize("m", [1, 9])
def test_every_kind_of_block(m: int, k: int, bf16: bool) -> None:
    check(m, 49, k, bf16=bf16)


def test_which_sums_are_in_pairs() -> None:
    """Those whose blocks are all even, by `exact`."""
    for k in range(1, 1000):
        assert layout.in_pairs(k) == all(edge % 2 == 0 for edge in exact.blocks(k))


@given(st.integers(1, 40), st.integers(1, 120), st.integers(1, 450), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_shape(m: int, n: int, k: int, non_finite: bool, bf16: bool) -> None:
    check(m, n, k, non_finite, bf16 and layout.in_pairs(k))


@pytest.mark.parametrize("rows", range(1, tile.ROWS + 1))
@pytest.mark.parametrize("vectors", range(1, tile.VECTORS + 1))
@pytest.mark.parametrize("bias", [True, False])
def test_every_tile_and_nothing_beside_it(rows: int, vectors: int, bias: bool) -> None:
    k, width = 200, vectors * tile.LANES
    a, w, b = normal(1, rows, k + 3), normal(2, k, width), normal(3, width)
    c = np.full((rows, width + 7), 12345, np.float32)
    address = [array.__array_interface__["data"][0] for array in (a, w, c, b)]
    bias_at = address[3] if bias else 0  # of one sliver, rows of w are packed as they are
    gemm.multiply(address[0], k + 3, rows, address[1], width, address[2], width + 7, bias_at, k, gemm.chain_length(k))
    x, columns = np.ascontiguousarray(a[:, :k]), np.ascontiguousarray(w.T)
    want = exact.linear(x, Linear(columns, b)) if bias else exact._product(x, columns, exact.blocks(k))
    assert_same_bits(np.ascontiguousarray(c[:, :width]), want)
    assert (c[:, width:] == 12345).all()


def test_first_total_is_not_added_to_zero() -> None:
    """A chain that underflows to -0 stays -0 without a bias: 0 + -0 would be +0."""
    tiny = np.full((1, 1), 1e-30, np.float32)
    w = np.full((1, tile.LANES), -1e-30, np.float32)
    c = np.empty((1, tile.LANES), np.float32)
    address = [array.__array_interface__["data"][0] for array in (tiny, w, c)]
    gemm.multiply(address[0], 1, 1, address[1], tile.LANES, address[2], tile.LANES, 0, 1, 1)
    assert np.signbit(c).all()
    assert not c.any()


@each_width
@pytest.mark.parametrize("rows", [1, 7, 143, 144, 145, 150, 289])
@pytest.mark.parametrize("n", [5, 48, 130])
def test_product_of_a_team(rows: int, n: int, bf16: bool) -> None:
    """Row blocks and panels as tasks, with a leading dimension and an odd width, give what one plain product gives."""
    k, ld = 24, 40
    x = np.full((rows, ld), np.nan, np.float32)
    x[:, :k] = normal(1, rows, k)
    w, b = normal(2, n, k), normal(3, n)
    weight, bias = packed(rounded(w) if bf16 else w, b)
    w = widened(rounded(w)) if bf16 else w
    want = exact.linear(np.ascontiguousarray(x[:, :k]), Linear(w, b))
    own, matrix = Matrix(layout.address(x), ld), Packed(layout.address(weight), layout.address(bias), k, n, int(bf16))
    for bias_last in (True, False):
        exactly = np.full((rows, n), np.nan, np.float32)
        take(Product(own, matrix, Matrix(layout.address(exactly), n), rows, bias_last=int(bias_last)))
        assert_same_bits(exactly, exact.product(np.ascontiguousarray(x[:, :k]), w) + b if bias_last else want)

    padded = np.full((rows, len(bias) + 16), np.nan, np.float32)
    out = Matrix(layout.address(padded), padded.shape[1])
    take(Product(own, matrix, out, rows, layout.GELU))
    assert_same_bits(np.ascontiguousarray(padded[:, :n]), exact.gelu(want))
    assert np.isnan(padded[:, n:]).all(), "written beyond the columns"
    take(Product(own, matrix._replace(n=len(bias)), out, rows, layout.GELU))
    assert_same_bits(np.ascontiguousarray(padded[:, :n]), exact.gelu(want))
    assert not padded[:, n : len(bias)].any(), "columns of padding are zero"
    assert np.isnan(padded[:, len(bias) :]).all(), "written beyond the panels"
