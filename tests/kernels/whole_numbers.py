"""Products in whole numbers, step by step: operands made of arrays, between bytes that nobody may write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minidistil.kernels import layout
from minidistil.kernels.code import target
from minidistil.kernels.layout import address
from minidistil.kernels.steps.code_rows import CodeRows
from minidistil.kernels.steps.coded_product import CodedProduct
from minidistil.kernels.steps.table import Coding, Matrix, PackedInt8
from minidistil.kernels.steps.take import take
from minidistil.weights.narrow import Int8Linear, kept_columns
from tests.bits import assert_same_bits

DOTS = {"exact": layout.DOT_EXACT, "pairs": layout.DOT_PAIRS}
if target.dot() == layout.DOT_NATIVE:
    DOTS["native"] = layout.DOT_NATIVE

_GUARD = 0x5A


class Packed(NamedTuple):
    """A weight as the kernels take it; the arrays must live as long as its operands are used."""

    operands: PackedInt8
    arrays: tuple[np.ndarray, ...]


class Rows(NamedTuple):
    """Coded rows within a larger array, whose other bytes nobody may write."""

    whole: np.ndarray  # uint8 [rows, bytes]
    k: int
    kept_columns: int = 0

    @property
    def matrix(self) -> Matrix:
        return Matrix(address(self.whole), self.whole.shape[1] // 4)

    @property
    def scale(self) -> np.ndarray:
        return np.ascontiguousarray(self.whole[:, :4]).view(np.float32)[:, 0]

    @property
    def zero(self) -> np.ndarray:
        return np.ascontiguousarray(self.whole[:, 4:8]).view(np.int32)[:, 0]

    @property
    def codes(self) -> np.ndarray:
        return self.whole[:, layout.CODES : layout.CODES + self.k]

    @property
    def kept(self) -> np.ndarray:
        start = layout.beyond_codes(self.k) * 4
        return np.ascontiguousarray(self.whole[:, start : start + self.kept_columns * 4]).view(np.float32)

    def check(self) -> None:
        """Fail where a byte beside a row was written, or one after its codes is not zero."""
        end = layout.CODES + self.k
        padded = layout.CODES + -(-self.k // 4) * 4
        assert not self.whole[:, end:padded].any(), "codes up to the next multiple of four are zeros"
        assert (self.whole[:, padded + self.kept_columns * 4 :] == _GUARD).all(), "a step wrote beyond its rows"
        assert (self.whole[:, 8 : layout.CODES] == _GUARD).all(), "a step wrote between a row's numbers and its codes"


def blank_rows(rows: int, k: int, kept_columns: int = 0) -> Rows:
    return Rows(np.full((rows, layout.coded_row(k, kept_columns) * 4), _GUARD, np.uint8), k, kept_columns)


def coded(x: np.ndarray, smooth: np.ndarray | None = None, spare: int = 3) -> Rows:
    """What `CodeRows` makes of rows that lie `spare` elements apart; columns are kept where smooth is zero."""
    (m, k), columns = x.shape, kept_columns(smooth)
    source, out = np.full((m, k + spare), np.nan, np.float32), blank_rows(m, k, len(columns))
    source[:, :k] = x
    take(CodeRows(Matrix(address(source), k + spare), out.matrix, m, k, coding(smooth, columns)))
    out.check()
    return out


def coding(smooth: np.ndarray | None, columns: np.ndarray) -> Coding:
    """Of arrays that must live as long as it is used."""
    return Coding(address(smooth), address(columns) if columns.size else 0, len(columns))


def given(codes: np.ndarray, scale: np.ndarray, zero: np.ndarray, kept: np.ndarray | None = None) -> Rows:
    """Rows of such codes uint8 [M, K], and of what is kept of them float32 [M, C]."""
    m, k = codes.shape
    kept = np.zeros((m, 0), np.float32) if kept is None else kept
    rows = Rows(np.zeros((m, layout.coded_row(k, kept.shape[1]) * 4), np.uint8), k, kept.shape[1])
    rows.whole[:, layout.beyond_codes(k) * 4 :][:, : kept.shape[1] * 4] = kept.view(np.uint8).reshape(m, -1)
    rows.whole[:, :4], rows.whole[:, 4:8] = (
        x.astype(t)[:, None].view(np.uint8) for x, t in ((scale, np.float32), (zero, np.int32))
    )
    rows.codes[:] = codes
    return rows


def packed(w: Int8Linear) -> Packed:
    n, k = w.codes.shape
    panels = layout.panels(n)
    weight = np.full((panels, -(-k // 4), layout.PANEL, 4), 99, np.int8)
    layout.pack_int8(w.codes, weight)
    sums = w.codes.sum(axis=1, dtype=np.int32)
    columns = [np.zeros(panels * layout.PANEL, x.dtype) for x in (w.scale, w.bias, sums)]
    for column, values in zip(columns, (w.scale, w.bias, sums), strict=True):
        column[:n] = values
    kept = np.zeros((panels, len(w.columns), layout.PANEL), np.float32)
    if w.kept is not None:
        layout.pack_kept(w.kept, kept)
    arrays = (weight, *columns, layout.limited(w.codes), kept)
    return Packed(operands(arrays, k, n), arrays)


def operands(arrays: Sequence[np.ndarray], k: int, n: int) -> PackedInt8:
    """Of the arrays of `Packed`, wherever they lie."""
    *whole, kept = arrays
    return PackedInt8(*map(address, whole), k, n, address(kept) if kept.size else 0, kept.shape[1])


def product(rows: Rows, w: Int8Linear, dot: int, activation: int = 0) -> np.ndarray:
    """What `CodedProduct` makes of coded rows: float32 [M, N]; fails where it writes beside it."""
    m, n = len(rows.whole), len(w.codes)
    out, weight = np.full((m + 1, n + 5), 3e33, np.float32), packed(w)
    take(CodedProduct(rows.matrix, weight.operands, Matrix(address(out), n + 5), m, activation, dot))
    assert (out[m:] == np.float32(3e33)).all(), "the step wrote beyond its rows"
    assert (out[:, n:] == np.float32(3e33)).all(), "the step wrote beyond its columns"
    return np.ascontiguousarray(out[:m, :n])


def check_integers(codes: np.ndarray, weight: np.ndarray, zero: np.ndarray, dot: int, what: str = "product") -> None:
    """Fail unless the kernel's sums are those of int64: scales of one leave them as they are, up to 2^24."""
    m, n = len(codes), len(weight)
    w = Int8Linear(weight, np.ones(n, np.float32), np.zeros(n, np.float32))
    got = product(given(codes, np.ones(m), zero), w, dot)
    wide = weight.astype(np.int64)
    want = codes.astype(np.int64) @ wide.T - zero.astype(np.int64)[:, None] * wide.sum(axis=1)
    assert_same_bits(got, want.astype(np.float32), what)
