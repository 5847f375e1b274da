"""Attention in training, forward and backward, of one sentence; nothing but NumPy.

`n` tokens, `H` heads, `d` numbers a head. A sum over keys or queries lies in the blocks that a length rounded up to a
multiple of 16 has, as in the forward pass (exact.py).
"""

from __future__ import annotations

import math

import numpy as np

from minidistil.backends.learning import Chance
from minidistil.backends.reference.elementary import exp_u20, fma
from minidistil.backends.reference.exact import blocks, product, sum8
from minidistil.backends.reference.learning.dropout import keep_factors
from minidistil.backends.reference.learning.lanes import lane_dot

f32 = np.float32


@np.errstate(all="ignore")
def attention_forward(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, chance: Chance | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """dropout(softmax(q k^T / sqrt(d))) v; without dropout the bits of `exact.attention`.

    Args:
        q, k, v: float32 [n, H, d].
        chance: of a probability to be dropped, at the site of the layer's attention; its first row is the sentence's.

    Returns:
        Context float32 [n, H, d]; statistics float32 [2, H, n], of every row of scores the greatest (infinity where
        none is above minus infinity) and the reciprocal of the sum of its exponentials.
    """
    n, heads, _ = q.shape
    context, statistics = np.empty_like(q), np.empty((2, heads, n), f32)
    for h in range(heads):
        s = _scores(q[:, h], k[:, h])  # [n, n]
        top = np.fmax.reduce(s, axis=1)  # passes over NaN, which the sum then shows
        statistics[0, h] = top = np.where(np.isneginf(top) | np.isnan(top), f32(np.inf), top)
        e = exp_u20(s - top[:, None])
        total = sum8(e)
        statistics[1, h] = r = f32(1) / np.where(total == 0, f32(1), total)
        kept = e * keep_factors(_of_head(chance, h), n, n)
        context[:, h] = _product(kept, v[:, h]) * r[:, None]
    return context, statistics


@np.errstate(all="ignore")
def attention_backward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    context: np.ndarray,
    dcontext: np.ndarray,
    statistics: np.ndarray,
    chance: Chance | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of q, k and v from that of the context.

    Args:
        q, k, v, context, dcontext: float32 [n, H, d].
        statistics: float32 [2, H, n], as `attention_forward` gives them.
        chance: the same as in the forward pass.

    Returns:
        dq, dk, dv: float32 [n, H, d].
    """
    n, heads, d = q.shape
    scale = f32(1 / math.sqrt(d))
    dq, dk, dv = np.empty_like(q), np.empty_like(k), np.empty_like(v)
    for h in range(heads):
        top, r = statistics[:, h, :, None]  # [n, 1] both
        p = exp_u20(_scores(q[:, h], k[:, h]) - top) * r  # [n, n]
        keep = keep_factors(_of_head(chance, h), n, n)
        delta = lane_dot(dcontext[:, h], context[:, h])[:, None]  # = sum over keys of dp keep p
        dp = product(dcontext[:, h], v[:, h])  # [n, d] x [n, d]^T -> [n, n]
        ds = p * fma(dp, keep, -delta)
        dv[:, h] = _product((p * keep).T, dcontext[:, h])
        dq[:, h] = _product(ds, k[:, h]) * scale
        dk[:, h] = _product(ds.T, q[:, h]) * scale
    return dq, dk, dv


def _scores(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """q k^T / sqrt(d): float32 [n, d] both -> [n, n]."""
    return product(q, k) * f32(1 / math.sqrt(q.shape[1]))


def _product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x y: float32 [n, n], [n, d] -> [n, d], in the blocks of the padded length."""
    n = len(y)
    edges = [min(edge, n) for edge in blocks(-(-n // 16) * 16)]
    return product(x, np.ascontiguousarray(y.T), edges)


def _of_head(chance: Chance | None, head: int) -> Chance | None:
    return chance and chance._replace(site=chance.site + (head << 16))
