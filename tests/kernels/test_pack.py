"""Packing against the formula of its layout, over every remainder, and nothing written beside it."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from minidistil.kernels import layout
from minidistil.kernels.code import target
from minidistil.kernels.products import packing
from minidistil.kernels.steps.pack import Pack
from minidistil.kernels.steps.take import take
from tests.bits import assert_same_bits
from tests.kernels.values import awkward

SLIVERS = sorted(tile.sliver for tile in target.TILES.values())
K = [1, 2, 15, 16, 17, 31, 32, 33, 48, 50, 191, 192, 193, 208, 250, 301, 384, 385, 400, 600]

every_n = pytest.mark.parametrize("n", [*range(1, 50), 63, 64, 65, 96, 97, 144, 150])


@functools.cache
def places(k: int, columns: int, sliver: int) -> np.ndarray:
    """int64 [k, columns]: where each element of B lies, one by one."""
    block = k if k <= 192 else k // 2 if k < 384 else 192
    found = np.empty((k, columns), np.int64)
    for i in range(k):
        first = i - i % block
        length = min(block, k - first)
        for j in range(columns):
            left = j - j % sliver
            width = min(sliver, columns - left)
            found[i, j] = first * columns + left * length + (i - first) * width + j - left
    assert np.array_equal(np.sort(found.ravel()), np.arange(found.size)), "each place once"
    return found


@functools.cache
def paired_places(k: int, sliver: int) -> np.ndarray:
    """int64 [k, PANEL]: where each element of a panel of bfloat16 lies, one by one."""
    block = k if k <= 192 else k // 2 if k < 384 else 192
    found, before = np.empty((k, layout.PANEL), np.int64), 0
    for first in range(0, k, block):
        length = min(block, k - first)
        for i in range(length):
            for j in range(layout.PANEL):
                left = j - j % sliver
                word = left * length // 2 + i // 2 * sliver + j - left
                found[first + i, j] = before + 2 * word + i % 2
        before += length * layout.PANEL
    assert np.array_equal(np.sort(found.ravel()), np.arange(found.size)), "each place once"
    return found


def panels(weight: np.ndarray, sliver: int) -> np.ndarray:
    """What packing must give, of float32 or uint16: [panels, k, PANEL]."""
    n, k = weight.shape
    b = np.zeros((layout.panels(n) * layout.PANEL, k), weight.dtype)
    b[:n] = weight
    out = np.empty((layout.panels(n), k * layout.PANEL), weight.dtype)
    at = paired_places(k, sliver) if weight.dtype == np.uint16 else places(k, layout.PANEL, sliver)
    out[:, at] = b.reshape(len(out), layout.PANEL, k).transpose(0, 2, 1)
    return out.reshape(-1, k, layout.PANEL)


def any_bits(seed: int, *shape: int) -> np.ndarray:
    """uint16 of all kinds; as bfloat16, NaN among them."""
    return np.random.default_rng([seed, *shape]).integers(0, 2**16, shape, np.uint16)


def assert_same(got: np.ndarray, want: np.ndarray) -> None:
    """float32 or uint16; a NaN keeps its bits."""
    np.testing.assert_array_equal(got.view(np.uint16), want.view(np.uint16))


def test_slivers_of_every_cpu() -> None:
    assert SLIVERS == [12, 24, 48]
    assert target.sliver() in SLIVERS


@pytest.mark.parametrize("sliver", SLIVERS)
@pytest.mark.parametrize("k", K)
def test_in_numpy(k: int, sliver: int) -> None:
    for n in (1, 11, 12, 13, 47, 48, 49, 97):
        for weight in (awkward(1, n, k), any_bits(1, n, k))[: 1 + layout.in_pairs(k)]:
            want = panels(weight, sliver)
            got = np.full_like(want, 7)
            layout.pack(weight, got, sliver)
            assert_same(got, want)


@every_n
@pytest.mark.parametrize("k", K)
def test_compiled(n: int, k: int) -> None:
    for bf16, weight in enumerate((awkward(1, n, k), any_bits(1, n, k))[: 1 + layout.in_pairs(k)]):
        want = panels(weight, target.sliver())
        got = np.full((len(want) + 1, *want.shape[1:]), 7, weight.dtype)
        take(Pack(layout.address(weight), n, k, layout.address(got), bf16))
        assert_same(got[:-1], want)
        assert (got[-1] == 7).all(), "written beyond the panels"


@every_n
@pytest.mark.parametrize("k", [1, 17, 64, 200])
def test_any_number_of_columns(n: int, k: int) -> None:
    """As the keys of a head are packed: rows apart, and no columns beyond the last sixteen."""
    rows, columns = awkward(1, n, k + 5), -(-n // 16) * 16
    got = np.full(k * columns + 16, 7, np.float32)
    packing.pack_rows(layout.address(rows), k + 5, n, k, layout.address(got), columns)
    want = np.zeros((columns, k), np.float32)
    want[:n] = rows[:, :k]
    assert_same_bits(np.ascontiguousarray(got[:-16][places(k, columns, target.sliver())].T), want)
    assert (got[-16:] == 7).all(), "written beyond the columns"
