"""Attention in training: the reference against finite differences, the kernels against the reference."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from minidistil.backends.learning import Chance, chance_of
from minidistil.backends.reference import exact
from minidistil.backends.reference.learning.attention import attention_backward, attention_forward
from minidistil.backends.reference.learning.dropout import keep_factors
from minidistil.kernels import layout
from minidistil.kernels.steps.attend import Attend
from minidistil.kernels.steps.table import Matrix
from minidistil.kernels.steps.take import take
from minidistil.kernels.steps.training.attend_backward import AttendBackward
from minidistil.kernels.steps.training.attend_kept import AttendKept
from tests.bits import assert_same_bits
from tests.kernels.values import normal, with_non_finite
from tests.learning.operations import guarded, take_together
from tests.learning.test_dropout import operand

SITE, STEP, FIRST_ROW = 24, 5, 11


def chance(probability: float) -> Chance | None:
    return chance_of(probability, 7 << 32 | 3, SITE, STEP, FIRST_ROW)


class Taken(NamedTuple):
    """What the two operations were given and gave: [T, H d]; dqkv [T, 3 H d]; statistics [2, H, T]."""

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    dcontext: np.ndarray
    context: np.ndarray
    statistics: np.ndarray
    dqkv: np.ndarray


def take_both(
    arrays: list[np.ndarray], lengths: list[int], heads: int, d: int, drop: Chance | None, threads: int = 1
) -> Taken:
    """Forward and backward pass of sentences of such lengths, in arrays of rows far apart."""
    tokens, width = sum(lengths), heads * d
    offsets = np.cumsum([0, *lengths])
    q, k, v, dcontext = (guarded(tokens, width, x) for x in arrays)
    context, dqkv = guarded(tokens, width), guarded(tokens, 3 * width)
    kept = np.full((2, heads, tokens), 3e33, np.float32)
    rest = (
        heads,
        d,
        1 / np.sqrt(d),
        len(lengths),
        layout.address(offsets),
        tokens,
        layout.address(kept),
        operand(drop),
    )
    inputs = (q.matrix, k.matrix, v.matrix, context.matrix)
    forward, backward = AttendKept(*inputs, *rest), AttendBackward(*inputs, dcontext.matrix, dqkv.matrix, *rest)
    take_together(forward, backward, scratch_floats=layout.backward_scratch(max(lengths), d), threads=threads)
    for array in (q, k, v, dcontext, context, dqkv):
        array.check()
    return Taken(*(x.array for x in (q, k, v, dcontext, context)), kept, dqkv.array)


def inputs(lengths: list[int], heads: int, d: int, scale: float = 1.5) -> list[np.ndarray]:
    return [normal(i, sum(lengths), heads * d, scale=scale) for i in range(4)]


def check(arrays: list[np.ndarray], lengths: list[int], heads: int, d: int, drop: Chance | None) -> Taken:
    """Every bit of both passes is the reference's."""
    got = take_both(arrays, lengths, heads, d, drop)
    first = 0
    for n in lengths:
        rows = slice(first, first + n)
        q, k, v, dcontext, context = (x[rows].reshape(n, heads, d) for x in got[:5])
        own = drop and drop._replace(first_row=drop.first_row + first)
        want, statistics = attention_forward(q, k, v, own)
        assert_same_bits(context, want, f"context, n={n} d={d}")
        assert_same_bits(got.statistics[:, :, rows], statistics, f"statistics, n={n} d={d}")
        gradients = attention_backward(q, k, v, want, dcontext, statistics, own)
        for i, (name, gradient) in enumerate(zip(("dq", "dk", "dv"), gradients, strict=True)):
            columns = slice(i * heads * d, (i + 1) * heads * d)
            assert_same_bits(got.dqkv[rows, columns].reshape(n, heads, d), gradient, f"{name}, n={n} d={d}")
        first += n
    return got


@pytest.mark.parametrize("probability", [0.0, 0.1])
@pytest.mark.parametrize("n", [*range(1, 41), 63, 64, 65])
def test_every_length(n: int, probability: float) -> None:
    check(inputs([n], 1, 16), [n], 1, 16, chance(probability))


@pytest.mark.parametrize("probability", [0.0, 0.3])
@pytest.mark.parametrize("n", [127, 129, 191, 192, 193, 208, 209, 300, 369, 383, 384, 385, 512])
def test_every_kind_of_block(n: int, probability: float) -> None:
    check(inputs([n], 1, 3), [n], 1, 3, chance(probability))


@pytest.mark.parametrize("d", [1, 2, 7, 12, 15, 16, 17, 31, 32, 33, 48, 64, 80, 200])
def test_every_head_width(d: int) -> None:
    check(inputs([21], 2, d), [21], 2, d, chance(0.2))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("probability", [0.0, 0.5])
def test_ragged_batches(probability: float, threads: int) -> None:
    """Whatever else is in the batch, each sentence has its own bits, with any number of threads."""
    lengths, heads, d = [3, 1, 40, 17, 66], 3, 12
    arrays = inputs(lengths, heads, d)
    want = check(arrays, lengths, heads, d, chance(probability))
    got = take_both(arrays, lengths, heads, d, chance(probability), threads)
    for name, a, b in zip(Taken._fields, got, want, strict=True):
        assert_same_bits(a, b, name)


def test_a_sentence_has_its_masks_in_any_micro_batch() -> None:
    lengths, heads, d = [5, 30, 18], 2, 8
    arrays, drop = inputs(lengths, heads, d), chance(0.4)
    whole = take_both(arrays, lengths, heads, d, drop)
    assert drop is not None
    first = 0
    for n in lengths:
        rows = slice(first, first + n)
        alone = take_both([x[rows] for x in arrays], [n], heads, d, drop._replace(first_row=drop.first_row + first))
        assert_same_bits(alone.context, np.ascontiguousarray(whole.context[rows]))
        assert_same_bits(alone.dqkv, np.ascontiguousarray(whole.dqkv[rows]))
        first += n


@pytest.mark.parametrize("probability", [0.0, 0.3])
def test_scores_far_apart(probability: float) -> None:
    check(inputs([40], 2, 16, scale=30.0), [40], 2, 16, chance(probability))


@pytest.mark.parametrize("probability", [0.0, 0.3])
@pytest.mark.parametrize("n", [1, 7, 33, 70])
def test_nan_and_infinity_go_through(n: int, probability: float) -> None:
    arrays = [with_non_finite(x, i) for i, x in enumerate(inputs([n, 9], 2, 4))]
    got = check(arrays, [n, 9], 2, 4, chance(probability))
    assert n == 1 or np.isnan(got.dqkv).any()


def test_a_nan_stays_in_its_sentence_and_head() -> None:
    arrays, clean = inputs([20, 30], 2, 8), inputs([20, 30], 2, 8)
    arrays[1][25, 3] = np.nan  # a key of the second sentence, in its first head
    got, want = (take_both(x, [20, 30], 2, 8, chance(0.1)) for x in (arrays, clean))
    touched = np.isnan(got.dqkv).reshape(50, 3, 2, 8)
    assert touched[20:, :, 0].all()
    assert not touched[:20].any()
    assert not touched[:, :, 1].any()
    assert_same_bits(np.ascontiguousarray(got.dqkv[:20]), np.ascontiguousarray(want.dqkv[:20]))


@pytest.mark.parametrize("lengths", [[1], [50, 3], [200]])
def test_without_dropout_the_operation_is_that_of_inference(lengths: list[int]) -> None:
    heads, d, tokens = 2, 16, sum(lengths)
    got = take_both(inputs(lengths, heads, d), lengths, heads, d, None)
    offsets, context = np.cumsum([0, *lengths]), np.empty((tokens, heads * d), np.float32)
    arrays = [np.ascontiguousarray(x) for x in got[:3]]
    places = [Matrix(layout.address(x), heads * d) for x in (*arrays, context)]
    ends = layout.address(offsets)
    step = Attend(*places, heads, d, 1 / np.sqrt(d), len(lengths), ends, ends, 0, 1, 0, 0)
    take(step, scratch_floats=layout.scratch_floats(max(lengths), d))
    assert_same_bits(np.ascontiguousarray(got.context), context)


@pytest.mark.parametrize("d", [1, 12, 32, 64, 96])
def test_scratch_grows_with_the_longest_sentence(d: int) -> None:
    """A batch has scratch memory for its longest sentence, and the others must find theirs in it."""
    sizes = [layout.backward_scratch(n, d) for n in range(1, 520)]
    assert sizes == sorted(sizes)
    assert all(size % 16 == 0 for size in sizes)
    assert all(size >= layout.scratch_floats(n, d) for n, size in enumerate(sizes, start=1))


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 40, 193])
def test_without_dropout_the_forward_pass_is_that_of_inference(n: int) -> None:
    q, k, v = (normal(i, n, 2, 12) for i in (1, 2, 3))
    context, probabilities = exact.attention(q, k, v)
    got, statistics = attention_forward(q, k, v)
    assert_same_bits(got, context)
    assert np.allclose(statistics[1], probabilities.max(2), atol=0, rtol=1e-6)  # e^0 times the reciprocal


@pytest.mark.parametrize("probability", [0.0, 0.3])
@pytest.mark.parametrize("n", [1, 3, 18])
def test_gradients_are_finite_differences(n: int, probability: float) -> None:
    """Of sum(context * dcontext) in float64 with the same mask, by central differences."""
    heads, d = 2, 5
    arrays = [normal(i, n, heads, d) for i in (1, 2, 3)]
    dcontext = normal(4, n, heads, d)
    mask = [chance(probability) and chance(probability)._replace(site=SITE + (h << 16)) for h in range(heads)]
    keep = np.stack([keep_factors(one, n, n) for one in mask]).astype(np.float64)

    def loss(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> float:
        s = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(d)
        p = np.exp(s - s.max(2, keepdims=True))
        p = p / p.sum(2, keepdims=True) * keep
        return float((np.einsum("hij,jhd->ihd", p, v) * dcontext).sum())

    context, statistics = attention_forward(*arrays, chance(probability))
    gradients = attention_backward(*arrays, context, dcontext, statistics, chance(probability))
    wide, step = [x.astype(np.float64) for x in arrays], 1e-5
    for which, gradient in enumerate(gradients):
        want = np.empty_like(wide[which])
        for at in np.ndindex(want.shape):
            ends = []
            for sign in (1, -1):
                moved = [x.copy() for x in wide]
                moved[which][at] += sign * step
                ends.append(loss(*moved))
            want[at] = (ends[0] - ends[1]) / (2 * step)
        assert np.allclose(gradient, want, rtol=1e-4, atol=3e-6)
        if n > 1:
            assert np.abs(gradient).max() > 0.1
