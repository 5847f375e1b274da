"""Dropout: the generator's known answers, the masks' place in the model, and their statistics."""

from __future__ import annotations

import numpy as np
import pytest

from minidistil.backends.learning import Chance, chance_of
from minidistil.backends.reference.learning.dropout import drop, keep_factors, philox4x32_10
from minidistil.kernels.steps.training import dropout
from tests.bits import assert_same_bits
from tests.kernels.values import normal, with_non_finite
from tests.learning.operations import guarded, take_together

# From the file kat_vectors of Random123: counter, key, result.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def chance(
    probability: float = 0.1, seed: int = 5 << 32 | 17, site: int = 19, step: int = 3, first_row: int = 0
) -> Chance:
    made = chance_of(probability, seed, site, step, first_row)
    assert made is not None
    return made


def operand(chance: Chance | None) -> dropout.Chance:
    """A chance as the kernels read it."""
    if chance is None:
        return dropout.Chance(0, 1.0, 0, 0, 0, 0, 0)
    return dropout.Chance(chance.threshold, chance.factor, *chance.key, chance.site, chance.step, chance.first_row)


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers(counter: str, key: str, result: str) -> None:
    words = [np.array([int(word, 16) for word in text.split()], np.uint32) for text in (counter, result)]
    assert np.array_equal(philox4x32_10(words[0], (int(key[:8], 16), int(key[9:], 16))), words[1])


def test_an_element_takes_its_word_of_its_counter() -> None:
    keep = keep_factors(chance(0.5, first_row=40), 3, 200)
    for i, j in [(0, 0), (2, 15), (1, 16), (0, 63), (2, 64), (1, 130), (0, 199)]:
        counter = np.array([j // 64 * 16 + j % 16, 40 + i, 19, 3], np.uint32)
        word = philox4x32_10(counter, (17, 5))[j % 64 // 16]
        assert keep[i, j] == (0 if word < 1 << 31 else 2)


@pytest.mark.parametrize("probability", [0.05, 0.1, 0.5, 0.9])
def test_so_many_are_dropped_and_the_mean_stays(probability: float) -> None:
    """Within five standard deviations, for the whole, for every column and for every row."""
    keep = keep_factors(chance(probability), 400, 500)
    dropped = keep == 0
    assert set(np.unique(keep)) == {np.float32(0), np.float32(1 / (1 - probability))}
    for share, count in ((dropped.mean(), dropped.size), (dropped.mean(0), 400), (dropped.mean(1), 500)):
        deviation = np.sqrt(probability * (1 - probability) / count)
        assert np.all(np.abs(share - probability) < 5 * deviation)


def test_masks_of_sites_steps_seeds_and_rows_are_independent() -> None:
    first = keep_factors(chance(0.5), 64, 256) == 0
    others = [{"site": 20}, {"step": 4}, {"seed": 18}, {"seed": 6 << 32 | 17}, {"first_row": 64}]
    for other in others:
        agree = (first == (keep_factors(chance(0.5, **other), 64, 256) == 0)).mean()
        assert abs(agree - 0.5) < 5 * 0.5 / np.sqrt(first.size), other


def test_a_row_has_its_mask_in_any_micro_batch() -> None:
    x = normal(1, 30, 70)
    whole = drop(x, chance(first_row=7))
    for cut in (1, 13, 29):
        parts = drop(x[:cut], chance(first_row=7)), drop(x[cut:], chance(first_row=7 + cut))
        assert_same_bits(np.concatenate(parts), whole)


def test_no_chance_leaves_everything() -> None:
    x = normal(1, 3, 5)
    assert chance_of(0.0, 1, 2, 3, 4) is None
    assert_same_bits(drop(x, None), x)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("rows", "n"), [(1, 1), (3, 15), (2, 16), (5, 17), (4, 48), (7, 63), (9, 64), (40, 65), (33, 200)]
)
def test_the_operation_is_the_reference(rows: int, n: int, threads: int) -> None:
    x, drawn = with_non_finite(normal(1, rows, n), 2), chance(0.3, first_row=2**32 - 20)  # numbers of rows go around
    source, out = guarded(rows, n, x), guarded(rows, n)
    take_together(
        dropout.Dropout(source.matrix, out.matrix, rows, n, operand(drawn)), scratch_floats=16, threads=threads
    )
    assert_same_bits(out.array, drop(x, drawn))
    out.check()
    source.check()
    take_together(dropout.Dropout(source.matrix, source.matrix, rows, n, operand(drawn)), scratch_floats=16)
    assert_same_bits(source.array, out.array, "in place")


@pytest.mark.parametrize("probability", [2.0**-32, 0.25, 0.999, 1 - 2.0**-40])
def test_thresholds_are_unsigned(probability: float) -> None:
    drawn, x = chance(probability), normal(1, 8, 640)
    source, out = guarded(8, 640, x), guarded(8, 640)
    take_together(dropout.Dropout(source.matrix, out.matrix, 8, 640, operand(drawn)), scratch_floats=16)
    assert_same_bits(out.array, drop(x, drawn))
    assert abs((out.array == 0).mean() - probability) < 0.05


def test_no_chance_copies() -> None:
    x = with_non_finite(normal(1, 5, 37), 3)
    source, out = guarded(5, 37, x), guarded(5, 37)
    take_together(dropout.Dropout(source.matrix, out.matrix, 5, 37, operand(None)), scratch_floats=16)
    assert_same_bits(out.array, x)
    out.check()
