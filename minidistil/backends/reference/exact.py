"""The operations of the model with the bits of PyTorch's CPU kernels, in nothing but NumPy.

Every sum below is carried out in one written order, with single-rounding float32 multiply-adds, so that its result is
the same on every machine. docs/arithmetic.md gives the source or the measurement behind each rule. Slow: this is what
the compiled engine is held against, bit for bit.

`T` tokens, `n` tokens of one sentence, `D` width, `H` heads, `d` = D / H; a product is [M, K] x [N, K]^T -> [M, N].
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from minidistil.backends.reference import int8
from minidistil.backends.reference.activations import activation, gelu
from minidistil.backends.reference.elementary import SUSPECT_SHIFT, exp_u20, expf, fma, round_to_odd
from minidistil.weights.model_weights import AnyLinear, EmbeddingWeights, Norm
from minidistil.weights.narrow import Int8Linear

__all__ = [
    "activation",
    "attention",
    "blocks",
    "embed",
    "exp_u20",
    "expf",
    "fma",
    "gelu",
    "layer_norm",
    "linear",
    "moments",
    "narrow",
    "normalized",
    "product",
]

f32 = np.float32
LANES = 8  # of the AVX2 registers that the reference sums in; part of the definition, not of the host


@np.errstate(all="ignore")  # infinities and NaN go through, as in PyTorch
def embed(
    weights: EmbeddingWeights,
    input_ids: np.ndarray | None,
    position_ids: np.ndarray,
    token_type_ids: np.ndarray | None,
    inputs_embeds: np.ndarray | None,
) -> np.ndarray:
    """Sum of the embeddings, before their LayerNorm: (word + token type) + position.

    Args:
        weights: the tables, [V, E], [P, E] and [Y, E] or None.
        input_ids: int [T], rows of the word table; None where `inputs_embeds` (float32 [T, E]) replaces the look-up.
        position_ids: int [T].
        token_type_ids: int [T]; None means type 0. Ignored by a model without token types.
        inputs_embeds: float32 [T, E] or None.

    Returns:
        float32 [T, E].
    """
    x = weights.word_embeddings[input_ids] if inputs_embeds is None else inputs_embeds
    if weights.token_type_embeddings is not None:
        types = np.zeros_like(position_ids) if token_type_ids is None else token_type_ids
        x = x + weights.token_type_embeddings[types]
    return x + weights.position_embeddings[position_ids]


@np.errstate(all="ignore")
def linear(x: np.ndarray, w: AnyLinear) -> np.ndarray:
    """x W^T + b: float32 [M, K] -> [M, N]; the bias first, then each block of K as one chain of fma from zero."""
    if isinstance(w, Int8Linear):
        return int8.linear(x, w)
    return _product(x, w.weight, blocks(x.shape[1]), w.bias)


@np.errstate(all="ignore")
def product(x: np.ndarray, w: np.ndarray, edges: list[int] | None = None) -> np.ndarray:
    """x w^T: float32 [M, K], [N, K] -> [M, N]; each block of K as one chain of fma from zero, added up.

    The blocks are those of K where no others are given by their `edges`.
    """
    return _product(x, w, edges or blocks(x.shape[1]))


@np.errstate(all="ignore")
def narrow(x: np.ndarray, w: AnyLinear) -> np.ndarray:
    """x W^T + b: float32 [M, K] -> [M, N] for 1 to 11 columns, where MKL takes dot products, unfused.

    Columns in whole groups of four are summed in four lanes, the others in eight; a single one in four as well, after
    its first term.
    """
    if len(w.bias) == 1:
        return _dots(x, w.weight, 4, first=1) + w.bias
    fours = len(w.bias) // 4 * 4
    y = [_dots(x, w.weight[:fours], 4), _dots(x, w.weight[fours:], 8)]
    return np.concatenate(y, axis=1) + w.bias


@np.errstate(all="ignore")
def layer_norm(x: np.ndarray, w: Norm) -> np.ndarray:
    """(x - mean) / sqrt(var + eps) * gamma + beta over the last axis: float32 [M, D] -> [M, D]."""
    return fma(normalized(x, *moments(x, w.eps)), w.weight, w.bias)


@np.errstate(all="ignore")
def moments(x: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean, and 1 / sqrt(var + eps), of each row: float32 [M, D] -> [M], [M]."""
    mean, m2 = _moments(np.ascontiguousarray(x.T))
    return mean, f32(1) / np.sqrt(m2 / f32(x.shape[1]) + f32(eps))


def normalized(x: np.ndarray, mean: np.ndarray, rstd: np.ndarray) -> np.ndarray:
    """(x - mean) rstd: float32 [M, D], [M], [M] -> [M, D]."""
    return (x - mean[:, None]) * rstd[:, None]


@np.errstate(all="ignore")
def attention(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, bias: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """softmax(q k^T / sqrt(d) + bias) v of one sentence.

    Args:
        q, k, v: float32 [n, H, d].
        bias: float32 [1 or H, n, n], added to the scaled scores, or None.

    Returns:
        Context float32 [n, H, d]; probabilities float32 [H, n, n].
    """
    n, heads, d = q.shape
    scale = f32(1 / math.sqrt(d))
    # The reference sees the sentence padded to a multiple of 16. The padding keys add exact zeros, so the chains
    # stop at the real ones; but the padded length decides where the blocks of P.V lie.
    edges = [min(edge, n) for edge in blocks(-(-n // 16) * 16)]
    context = np.empty_like(q)  # [n, H, d]
    probabilities = np.empty((heads, n, n), f32)
    for h in range(heads):
        s = _product(q[:, h], k[:, h], blocks(d))  # [n, d] x [n, d]^T -> [n, n]
        s = s * scale if bias is None else fma(s, scale, bias[h % len(bias)])
        top = s.max(axis=1, keepdims=True)
        # A row whose keys are all masked attends nowhere: its context is zero, as PyTorch's.
        e = np.where(np.isneginf(top), f32(0), exp_u20(s - top))
        r = f32(1) / np.where(np.isneginf(top), f32(1), sum8(e)[:, None])
        context[:, h] = _product(e, np.ascontiguousarray(v[:, h].T), edges) * r  # [n, n] x [d, n]^T -> [n, d]
        probabilities[h] = e * r
    return context, probabilities


def blocks(k: int) -> list[int]:
    """Edges of the blocks in which a product sums its K terms, as MKL's AVX2 SGEMM does: [0, ..., K]."""
    size = k if k <= 192 else k // 2 if k < 384 else 192  # an odd K below 384 leaves a third block of one term
    return [*range(0, k, size or 1), k]


# Helpers

_TILE = 32768  # float64 elements of a product worked on at a time, so that a few such arrays stay in cache


def _product(x: np.ndarray, w: np.ndarray, edges: list[int], bias: np.ndarray | None = None) -> np.ndarray:
    """x w^T, [M, K] x [N, K]^T -> [M, N], block after block of K; without a bias the first block starts the sum."""
    (m, _), n = x.shape, w.shape[0]
    out = np.zeros((m, n), f32) if bias is None else np.tile(bias, (m, 1))
    rows = max(1, min(m, 64))
    columns = _TILE // rows
    for start, stop in itertools.pairwise(edges):
        for j in range(0, n, columns):
            w_tile = np.ascontiguousarray(w[j : j + columns, start:stop].T, dtype=np.float64)  # [k, columns]
            for i in range(0, m, rows):
                total = _chains(x[i : i + rows, start:stop].astype(np.float64), w_tile)
                tile = out[i : i + rows, j : j + columns]
                tile[...] = total if bias is None and start == 0 else tile + total
    return out


def _dots(x: np.ndarray, w: np.ndarray, lanes: int, first: int = 0) -> np.ndarray:
    """x w^T, [M, K] x [N, K]^T -> [M, N]: term k in lane k mod lanes, a tree over the lanes, the terms left over.

    The first terms, `first` of them, go into lane 0 ahead of the vectors.
    """
    (m, k), n = x.shape, len(w)
    whole = k - (k - first) % lanes
    s = np.zeros((m, n, lanes), f32)
    for t in range(first):
        s[:, :, 0] += x[:, t, None] * w[:, t]
    for t in range(first, whole, lanes):
        s = s + x[:, None, t : t + lanes] * w[:, t : t + lanes]
    while s.shape[2] > 1:
        half = s.shape[2] // 2
        s = s[:, :, :half] + s[:, :, half:]
    total = s[:, :, 0]
    for t in range(whole, k):
        total = total + x[:, t, None] * w[:, t]
    return total


def _chains(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x w with one chain of fma over k from zero for each element: float64 [m, k], [k, n] -> float32 [m, n]."""
    m, n = x.shape[0], w.shape[1]
    acc = np.zeros((m, n))  # float32 values, kept as float64
    acc32 = np.zeros((m, n), f32)
    p, s, low_bits = np.empty((m, n)), np.empty((m, n)), np.empty((m, n), np.uint64)
    for k in range(x.shape[1]):
        np.multiply(x[:, k, None], w[k], out=p)
        np.add(p, acc, out=s)
        np.left_shift(s.view(np.uint64), SUSPECT_SHIFT, out=low_bits)
        if low_bits.min() == 0:
            round_to_odd(s, p, acc, low_bits == 0)
        np.copyto(acc32, s, casting="same_kind")
        np.copyto(acc, acc32)
    return acc32


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sum of squared deviations over axis 0: float32 [D, M] -> [M], [M].

    Welford's update in 8 lanes over chunks of 16 vectors; the chunks merge pairwise, as the digits of a binary counter
    carry; the D mod 8 elements at the end are taken one by one, and the lanes merged into them.
    """
    width, m = x.shape
    vectors = width // LANES
    chunks = -(-vectors // 16)
    depth = max(1, (chunks - 1).bit_length())
    empty = (0, np.zeros((LANES, m), f32), np.zeros((LANES, m), f32))
    level = [empty] * depth
    lanes = x[: vectors * LANES].reshape(vectors, LANES, m)
    for i in range(chunks):
        level[0] = _merge(level[0], _welford(lanes[16 * i : 16 * i + 16]))
        carry = i + 1
        for j in range(1, depth):
            if carry & 1:
                break
            level[j], level[j - 1] = _merge(level[j], level[j - 1]), empty
            carry >>= 1
    for j in range(1, depth):
        level[0] = _merge(level[0], level[j])

    count, mean, m2 = 0, np.zeros(m, f32), np.zeros(m, f32)
    for row in x[vectors * LANES :]:
        count += 1
        delta = row - mean
        mean = mean + delta / f32(count)
        m2 = m2 + delta * (row - mean)
    for lane_mean, lane_m2 in zip(level[0][1], level[0][2], strict=True):
        c = f32(vectors) / f32(count + vectors)
        delta = lane_mean - mean
        mean = fma(c, delta, mean)
        m2 = m2 + fma((delta * delta) * c, f32(count), lane_m2)
        count += vectors
    return mean, m2


def _welford(x: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Count, mean and sum of squared deviations of [k, LANES, M] over k."""
    mean = np.zeros(x.shape[1:], f32)
    m2 = np.zeros(x.shape[1:], f32)
    for j, row in enumerate(x):
        delta = row - mean
        mean = fma(f32(1) / f32(j + 1), delta, mean)
        m2 = fma(delta, row - mean, m2)
    return len(x), mean, m2


def _merge(a: tuple, b: tuple) -> tuple[int, np.ndarray, np.ndarray]:
    """Moments of two sets from those of each, lane by lane: b is added to a; the mean is not fused, m2 is."""
    (count_a, mean_a, m2_a), (count_b, mean_b, m2_b) = a, b
    count = count_a + count_b
    c = f32(0) if count == 0 else f32(count_b) / f32(count)
    delta = mean_b - mean_a
    c_delta = c * delta
    return count, mean_a + c_delta, fma(delta * f32(count_a), c_delta, m2_a + m2_b)


def sum8(x: np.ndarray) -> np.ndarray:
    """Row sums in 8 lanes (lane j takes j, j + 8, ...), then 4 + 4, 2 + 2, 1 + 1: float32 [n, k] -> [n]."""
    lanes = np.zeros((x.shape[0], LANES), f32)
    for j in range(0, x.shape[1], LANES):
        part = x[:, j : j + LANES]
        lanes[:, : part.shape[1]] += part
    for half in (4, 2, 1):
        lanes = lanes[:, :half] + lanes[:, half:]
    return lanes[:, 0]
