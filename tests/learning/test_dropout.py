"""Dropout: the generator's known answers, the masks' place in the model, and their statistics."""

from __future__ import annotations

import numpy as np
import pytest

from minidistil.backends.learning import Chance, chance_of
from minidistil.backends.reference.learning.dropout import drop, keep_factors, philox4x32_10
from tests.bits import assert_same_bits
from tests.kernels.values import normal

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
    others = [dict(site=20), dict(step=4), dict(seed=18), dict(seed=6 << 32 | 17), dict(first_row=64)]
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
