"""Regularised logistic regression, binary and multinomial, with the same bits on every machine.

Minimised is the mean of the texts' cross entropies plus decay / 2 times the squares of the weights (not of the biases),
by L-BFGS in float64. The order in which a BLAS adds is its own affair; so what it adds here are whole numbers, so small
that no sum passes 2^53: exact in every order.

Legend: `n` texts, `D` features, `N` labels, `J` problems over the same texts that are solved side by side (folds).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from minidistil.training.elementary import exp, log

_BITS = 20  # of a whole number: 2 * 20 + log2(8192) = 53
_TERMS = 8192  # of an exact sum
_ROWS = 4096  # texts at once
_STILL = 2.0**-20  # of the greatest deviation: less is rounding (all-MiniLM-L6-v2 has a column of 2e-33)
_MEMORY = 10  # steps that L-BFGS remembers
_STEPS = 500  # that it takes at most; some dozens are enough
_SHORTEST = 2.0**-30  # part of a step that is tried last
_ENOUGH = 1e-4  # of the decrease that the slope promises (Armijo's condition)


class Features:
    """What texts are told apart by: columns of mean 0 and deviation 1, as multiples of powers of two.

    Args:
        x: float32 [n, D], finite.

    Attributes:
        mean, deviation: float64 [D], of the columns as they came; 1 for one that stays as it is and counts for nothing.
    """

    def __init__(self, x: np.ndarray) -> None:
        whole, unit = _as_whole(x.astype(np.float64))
        n = len(x)
        self.mean = _sums(whole) * (unit / n)
        scaled = whole * unit - self.mean
        squares, unit = _as_whole(np.square(scaled))
        deviation = np.sqrt(_sums(squares) * (unit / n))
        still = deviation <= deviation.max() * _STILL
        self.deviation = np.where(still, 1.0, deviation)
        scaled = np.where(still, 0.0, scaled / self.deviation)
        whole, self._unit = _as_whole(np.concatenate([scaled, np.ones((n, 1))], axis=1))
        self._whole = whole.astype(np.float32)  # which 20 bits fit into

    def __len__(self) -> int:
        return len(self._whole)

    @property
    def columns(self) -> int:
        """D + 1: the last one is 1, and its weights are the biases."""
        return int(self._whole.shape[1])

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows, some at a time, in order: which they are, and float64 [rows, D + 1] in units of their columns."""
        for start in range(0, len(self), _ROWS):
            rows = slice(start, min(start + _ROWS, len(self)))
            yield rows, self._whole[rows].astype(np.float64)

    def logits(self, block: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Logits float64 [rows, J, N] of a block for weights [J, D + 1, N]."""
        J, _, N = weights.shape
        flat = np.ascontiguousarray(weights.transpose(1, 0, 2)).reshape(-1, J * N)
        return _exact(block, flat * self._unit[:, None]).reshape(-1, J, N)

    def descent(self, block: np.ndarray, residuals: np.ndarray) -> np.ndarray:
        """Gradient float64 [J, D + 1, N] of a block from its residuals [rows, J, N]."""
        _, J, N = residuals.shape
        flat = _exact(block.T, residuals.reshape(-1, J * N)) * self._unit[:, None]
        return np.ascontiguousarray(flat.reshape(-1, J, N).transpose(1, 0, 2))


class Scores(NamedTuple):
    """Of texts: the mean of their cross entropies in nats, and the share that got its label; float64 [J] each."""

    loss: np.ndarray
    accuracy: np.ndarray


def fit(
    features: Features,
    labels: np.ndarray,
    n_labels: int,
    decay: float,
    member: np.ndarray,
    start: np.ndarray | None = None,
    tolerance: float = 1e-8,
) -> np.ndarray:
    """Minimise the regularised mean cross entropy.

    Args:
        features: of n texts.
        labels: int [n], from 0.
        n_labels: N.
        decay: of the weights, positive.
        member: bool [J, n], the texts that each problem learns from, at least one of them.
        start: weights to start from; None for zeros.
        tolerance: greatest part of the gradient in the end.

    Returns:
        float64 [J, D + 1, N]; a problem's does not depend on what is solved beside it.
    """
    J, D1, N = len(member), features.columns, n_labels
    count = np.count_nonzero(member, axis=1).astype(np.float64)
    penalty = np.full((D1, 1), float(decay))
    penalty[-1] = 0.0

    def value(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Objective [J] and gradient [J, P] at [J, P]."""
        w = weights.reshape(J, D1, N)
        total, gradient = np.zeros(J), np.zeros((J, D1, N))
        for rows, block in features.blocks():
            here = member[:, rows]
            loss, probability = cross_entropy(features.logits(block, w), labels[rows])
            total += _add(np.where(here, loss.T, 0.0))
            probability[np.arange(len(block)), :, labels[rows]] -= 1.0
            gradient += features.descent(block, np.where(here.T[:, :, None], probability, 0.0))
        decayed = w * penalty
        regular = _add((decayed * w).reshape(J, -1)) / 2
        return total / count + regular, (gradient / count[:, None, None] + decayed).reshape(J, -1)

    begun = np.zeros((J, D1 * N)) if start is None else start.reshape(J, -1)
    return _minimise(value, begun, tolerance).reshape(J, D1, N)


def score(features: Features, labels: np.ndarray, weights: np.ndarray, member: np.ndarray) -> Scores:
    """How weights float64 [J, D + 1, N] do on texts, those of bool [J, n] for each problem."""
    loss, right = np.zeros(len(member)), np.zeros(len(member))
    for rows, block in features.blocks():
        logits = features.logits(block, weights)
        here = member[:, rows]
        loss += _add(np.where(here, cross_entropy(logits, labels[rows])[0].T, 0.0))
        right += np.count_nonzero(here & (logits.argmax(axis=2) == labels[rows, None]).T, axis=1)
    count = np.count_nonzero(member, axis=1)
    return Scores(loss / count, right / count)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss float64 [n, J] in nats, and probabilities [n, J, N], of logits [n, J, N] and labels int [n]."""
    shifted = logits - logits.max(axis=2, keepdims=True)
    own = np.take_along_axis(shifted, labels[:, None, None], 2)[:, :, 0]
    powers = exp(shifted)
    total = np.add.reduce(powers, axis=2)
    powers /= total[:, :, None]
    return log(total) - own, powers


def _minimise(
    value: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], at: np.ndarray, tolerance: float
) -> np.ndarray:
    """L-BFGS (Nocedal and Wright, algorithm 7.4) from float64 [J, P], each problem for itself."""
    f, g = value(at)
    past: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # steps, changes of the gradient, 1 / their products
    open_ = np.abs(g).max(axis=1) > tolerance
    for _ in range(_STEPS):
        if not open_.any():
            break
        direction = -_inverse_hessian(past, g)
        slope = _add(direction * g)
        length = np.where(open_, 1.0, 0.0)
        if not past:
            length /= np.maximum(np.sqrt(_add(g * g)), 1.0)
        while True:
            there = at + length[:, None] * direction
            f_there, g_there = value(there)
            long = open_ & ~(f_there <= f + _ENOUGH * length * slope) & (length > 0)
            if not long.any():
                break
            length = np.where(long, length / 2, length)
            length = np.where(length < _SHORTEST, 0.0, length)
        open_ &= length > 0  # as near as float64 comes
        step, change = there - at, g_there - g
        product = _add(step * change)
        curved = open_ & (product > 0)
        past = [*past, (step, change, np.where(curved, 1 / np.where(curved, product, 1.0), 0.0))][-_MEMORY:]
        at, f, g = there, f_there, g_there
        open_ &= np.abs(g).max(axis=1) > tolerance
    return at


def _inverse_hessian(past: list[tuple[np.ndarray, np.ndarray, np.ndarray]], g: np.ndarray) -> np.ndarray:
    """The product of g [J, P] with what the past says of the inverse Hessian; a step that says nothing has 0 there."""
    q, parts = g.copy(), []
    for step, change, inverse in reversed(past):
        part = inverse * _add(step * q)
        q -= part[:, None] * change
        parts.append(part)
    if past:
        _, change, inverse = past[-1]
        known = inverse > 0
        scale = np.where(known, 1.0 / np.where(known, inverse * _add(change * change), 1.0), 1.0)
        q *= scale[:, None]
    for (step, change, inverse), part in zip(past, reversed(parts), strict=True):
        q += step * (part - inverse * _add(change * q))[:, None]
    return q


def _exact(whole: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product float64 [M, J] of whole numbers [M, K] below 2^20 and any numbers [K, J], which count to 40 bits.

    Exact but for the additions of the two halves of `b` and of every `_TERMS` terms, which are made in order.
    """
    high, high_unit = _as_whole(b)
    low, low_unit = _as_whole(b - high * high_unit)
    both, J = np.concatenate([high, low], axis=1), b.shape[1]
    total = np.zeros((len(whole), J))
    for start in range(0, len(b), _TERMS):
        some = whole[:, start : start + _TERMS] @ both[start : start + _TERMS]
        total += some[:, :J] * high_unit + some[:, J:] * low_unit
    return total


def _as_whole(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers [K, J] as whole ones of at most 20 bits, and the power of two that one of each column stands for [J]."""
    unit = np.ldexp(1.0, np.frexp(np.abs(x).max(axis=0, initial=0.0))[1] - _BITS)
    return np.rint(x / unit), unit


def _sums(whole: np.ndarray) -> np.ndarray:
    """Sums float64 [D] of the columns of whole numbers below 2^20: exact for 2^33 rows."""
    return whole.sum(axis=0)


def _add(x: np.ndarray) -> np.ndarray:
    """Sums float64 [J] of rows [J, n], by NumPy's pairwise summation, whose order n alone decides."""
    return np.add.reduce(np.ascontiguousarray(x), axis=1)
