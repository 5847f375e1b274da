"""Products in whole numbers on 64-bit ARM, under emulation: the bits of the oracle, by both kinds of sums there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minidistil.backends.reference import int8
from minidistil.kernels import layout
from tests.kernels import test_int8, test_kept_columns, whole_numbers
from tests.kernels.values import normal
from tests.machines import emulator
from tests.machines.test_neon import folder

__all__ = ["folder"]

pytestmark = pytest.mark.slow

dots = pytest.mark.parametrize("dot", [layout.DOT_EXACT, layout.DOT_PAIRS, layout.DOT_NATIVE])


@pytest.fixture(autouse=True)
def emulated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> emulator.Emulator:
    """From here on operations run on the emulated machine."""
    machine = emulator.Emulator(folder)
    machine.takes_over(monkeypatch)
    return machine


@dots
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [
        (1, 1, 1),
        (2, 49, 4),
        (3, 48, 15),
        (4, 50, 16),
        (5, 48, 17),
        (6, 12, 19),
        (7, 96, 64),
        (15, 48, 65),
        (40, 60, 768),
    ],
)
@pytest.mark.parametrize("kept", [False, True], ids=["", "with columns kept"])
def test_product(emulated: emulator.Emulator, dot: int, m: int, n: int, k: int, kept: bool) -> None:
    test_int8.check(m, n, k, dot, smooth=k % 2 == 0, columns=test_int8.some_columns(k, 9) if kept else ())
    assert emulated.runs == [["CodeRows"], ["CodedProduct"]]


@dots
def test_the_worst_operands(dot: int) -> None:
    signs = np.array([[-128] * 4, [127] * 4, [127, -128] * 2, [-128, 127] * 2, [127, 127, -128, -128]], np.int8)
    weight, codes = np.tile(signs, (10, 1025))[:, :4097], np.full((9, 4097), 255, np.uint8)
    codes[1], codes[2, ::2], codes[3, 1::2] = 0, 0, 0
    whole_numbers.check_integers(codes, np.ascontiguousarray(weight), np.arange(9) * 255 // 8, dot)


@dots
def test_activation(dot: int) -> None:
    test_int8.test_the_activation_of_a_product(dot, "gelu")


def test_rows() -> None:
    for k in (1, 3, 16, 17, 50, 64):
        test_int8.check_rows(normal(1, 5, k) - np.float32(1), np.exp(normal(2, k)))
    test_int8.test_ties_go_to_the_even_code()
    test_int8.test_rows_of_every_magnitude()
    test_int8.test_rows_of_one_sign_of_zeros_and_of_one_value()
    test_int8.test_what_overflows_when_it_is_smoothed()
    x = normal(3, 3, 20)
    x[0, 3], x[1, 19] = np.nan, -np.inf
    assert np.isnan(int8.code_rows(x).scale).tolist() == [True, True, False]
    test_int8.check_rows(x)


def test_columns_that_are_kept() -> None:
    test_kept_columns.test_a_column_that_is_kept_takes_no_steps_from_the_others()
    test_kept_columns.test_what_is_not_finite_makes_its_row_nan_where_columns_are_kept(np.nan)


@pytest.mark.parametrize("n", [1, 16, 50])
def test_sums_that_are_coded_where_they_are_made(n: int) -> None:
    test_int8.test_sums_that_are_coded_where_they_are_made(n, "smooth")
    test_int8.test_sums_that_are_coded_where_they_are_made(n, "kept")


@pytest.mark.parametrize("kind", ["int8", "bfloat16"])
def test_rows_of_a_table(kind: str) -> None:
    for n in (1, 16, 33):
        test_int8.test_rows_of_a_table(kind, n)
