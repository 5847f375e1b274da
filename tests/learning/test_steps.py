"""Operations of training side by side: what tests/training_steps.py says they touch is enough to see a race."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from minidistil.kernels import layout
from minidistil.kernels.layout import address
from minidistil.kernels.steps.table import Matrix, Steps
from minidistil.kernels.steps.training.activation_backward import ActivationBackward
from minidistil.kernels.steps.training.column_sums import ColumnSums
from minidistil.kernels.steps.training.layer_norm_backward import LayerNormBackward
from minidistil.kernels.steps.training.pack_columns import PackColumns
from minidistil.kernels.steps.training.weight_gradient import WeightGradient
from tests import steps

ROWS, N = 6, 20


def check(*some: NamedTuple) -> None:
    """Fail where these race, with no meeting between them."""
    values = dict.fromkeys(("scratch", "scratch floats", "clock"), 0)
    call = Steps([(step, False) for step in some], entry="train").call(values)
    steps.check(steps.read_call(address(call), "train"), threads=2)


def arrays(count: int) -> list[np.ndarray]:
    return [np.zeros((ROWS, N), np.float32) for _ in range(count)]


def matrix(x: np.ndarray) -> Matrix:
    return Matrix(address(x), x.shape[1])


def test_gradients_of_the_same_weights_race() -> None:
    dy, x, one, other = *arrays(2), *(np.zeros((N, N), np.float32) for _ in range(2))
    gradients = [WeightGradient(matrix(dy), matrix(x), ROWS, N, N, address(out)) for out in (one, other)]
    check(*gradients, ColumnSums(matrix(dy), ROWS, N, address(np.zeros(N, np.float32))))
    with pytest.raises(AssertionError, match="beside"):
        check(gradients[0], gradients[0])
    with pytest.raises(AssertionError, match="beside"):
        check(gradients[0], ColumnSums(matrix(dy), ROWS, N, address(one)))


@pytest.mark.parametrize("height", [5, 64, 192, 200])
def test_weights_one_above_another_are_packed_at_once(height: int) -> None:
    """Wherever blocks and slivers lie; but not where two have a row in common."""
    w = np.zeros((height, 60), np.float32)
    out = np.zeros((layout.panels(60), 3 * height, layout.PANEL), np.float32)
    packs = [PackColumns(address(w), height, 60, address(out), i * height, 3 * height) for i in range(3)]
    check(*packs)
    written = np.zeros(out.size, int)
    for step in steps.read_call(
        address(
            call := Steps([(pack, True) for pack in packs], "train").call(
                {"scratch": 0, "scratch floats": 0, "clock": 0}
            )
        ),
        "train",
    ).steps:
        for place in steps.touched(step, 1):
            for row in range(place.rows if place.writes else 0):
                first = (place.address + row * place.apart - address(out)) // 4
                written[first : first + place.size // 4] += 1
    assert call.size
    assert (written == 1).all(), "every element once"
    with pytest.raises(AssertionError, match="beside"):
        check(packs[0], packs[1]._replace(first=height - 1))


def test_what_may_be_done_in_place() -> None:
    dy, more, x, moments = *arrays(3), np.zeros((ROWS, 2), np.float32)
    gain = np.ones(N, np.float32)
    rest = (address(moments), ROWS, N, address(gain))
    check(LayerNormBackward(matrix(dy), matrix(more), matrix(x), matrix(dy), *rest))
    for out in (more, x):
        with pytest.raises(AssertionError, match="reads what it writes"):
            check(LayerNormBackward(matrix(dy), matrix(more), matrix(x), matrix(out), *rest))
    check(ActivationBackward(matrix(dy), matrix(x), matrix(dy), ROWS, N, layout.GELU, matrix(x)))
    with pytest.raises(AssertionError, match="reads what it writes"):
        check(ActivationBackward(matrix(dy), matrix(x), matrix(x), ROWS, N, layout.GELU))
