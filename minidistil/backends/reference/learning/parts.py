"""What the model is made of, forwards and backwards, side by side: each backward pass stands beneath its forward pass.

A backward pass takes the gradient `d...` of what came out, adds to the gradients of its weights (`g`, of the same form
as the weights `w`), and returns the gradient of what went in. The formulas are those of docs/training.md.

Legend: `T` packed tokens, `n` tokens of one sentence, `D` width, `H` heads, `d` = D / H, `F` feed-forward width.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.backends.learning import EMBEDDINGS_SITE, Chance, Chances, chance_of, layer_sites
from minidistil.backends.reference import exact
from minidistil.backends.reference.learning.activations import activation_backward
from minidistil.backends.reference.learning.attention import attention_backward, attention_forward
from minidistil.backends.reference.learning.dropout import drop
from minidistil.backends.reference.learning.embeddings import scatter_rows
from minidistil.backends.reference.learning.linear import column_sums, input_gradient, weight_gradient
from minidistil.backends.reference.learning.norms import layer_norm_backward, layer_norm_forward, norm_gradient
from minidistil.weights.model_weights import AnyLinear, EmbeddingWeights, LayerWeights, Norm, whole


class Masks(NamedTuple):
    """The dropout of one micro-batch: chances of the run, its step, and how many rows of the step came before."""

    chances: Chances
    step: int
    first_row: int

    def hidden(self, site: int) -> Chance | None:
        """Of hidden states: rows are packed tokens."""
        return self._of(self.chances.hidden, site)

    def head(self, site: int) -> Chance | None:
        """Of what a head reads: rows are those of the gathered matrix."""
        return self._of(self.chances.head, site)

    def attention(self, site: int, start: int) -> Chance | None:
        """Of the probabilities of the sentence that begins with row `start`."""
        chance = self._of(self.chances.attention, site)
        return chance and chance._replace(first_row=self.first_row + start)

    def _of(self, probability: float, site: int) -> Chance | None:
        return chance_of(probability, self.chances.seed, site, self.step, self.first_row)


def linear_back(dy: np.ndarray, x: np.ndarray, w: AnyLinear, g: AnyLinear) -> np.ndarray:
    """Of y = x W^T + b: dW += dy^T x, db += sum of dy, dx = dy W."""
    linear_gradients(dy, x, g)
    return input_gradient(dy, w.weight)


def linear_gradients(dy: np.ndarray, x: np.ndarray, g: AnyLinear) -> None:
    """Of the weights alone."""
    g.weight[...] = weight_gradient(dy, x, g.weight)
    g.bias[...] = column_sums(dy, g.bias)


def norm_back(
    dy: np.ndarray, more: np.ndarray | None, s: np.ndarray, moments: np.ndarray, w: Norm, g: Norm
) -> np.ndarray:
    """Of y = LayerNorm(s); `more` is a second gradient of y, where it went two ways."""
    g.weight[...], g.bias[...] = norm_gradient(dy, s, moments, g.weight, g.bias, more)
    return layer_norm_backward(dy, s, moments, w.weight, more)


# The embeddings


class KeptEmbeddings(NamedTuple):
    """Of the embeddings: their sum float32 [T, D], and its moments [T, 2]."""

    s: np.ndarray
    moments: np.ndarray


def embed(w: EmbeddingWeights, batch: PackedBatch, masks: Masks) -> tuple[np.ndarray, KeptEmbeddings]:
    """What enters the first layer: float32 [T, D]."""
    s = exact.embed(w, batch.input_ids, batch.position_ids, batch.token_type_ids, None)
    y, moments = layer_norm_forward(s, w.layer_norm)
    return drop(y, masks.hidden(EMBEDDINGS_SITE)), KeptEmbeddings(s, moments)


def embed_back(
    dx: np.ndarray, kept: KeptEmbeddings, w: EmbeddingWeights, g: EmbeddingWeights, batch: PackedBatch, masks: Masks
) -> None:
    """Rows of the gradient go where rows of the tables came from, token after token."""
    dy = drop(dx, masks.hidden(EMBEDDINGS_SITE))
    ds = norm_back(dy, None, *kept, w.layer_norm, g.layer_norm)
    assert batch.input_ids is not None
    scatter_rows(whole(g.word_embeddings), batch.input_ids, ds)
    scatter_rows(whole(g.position_embeddings), batch.position_ids, ds)
    if g.token_type_embeddings is not None:
        types = batch.token_type_ids
        scatter_rows(whole(g.token_type_embeddings), np.zeros(batch.tokens, int) if types is None else types, ds)


# A layer


class Shape(NamedTuple):
    """What a layer's weights do not tell."""

    heads: int
    activation: str


class KeptLayer(NamedTuple):
    """Of a layer: float32 [T, D] each, `u` [T, F]; statistics of attention [2, H, n] by sentence; moments [T, 2].

    From `s1` on only the rows `some` are there.
    """

    x: np.ndarray
    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    statistics: list[np.ndarray]
    context: np.ndarray
    some: slice | np.ndarray
    s1: np.ndarray
    moments1: np.ndarray
    h: np.ndarray
    u: np.ndarray
    s2: np.ndarray
    moments2: np.ndarray


def layer(
    x: np.ndarray,
    w: LayerWeights,
    number: int,
    shape: Shape,
    batch: PackedBatch,
    masks: Masks,
    rows: np.ndarray | None = None,
) -> tuple[np.ndarray, KeptLayer]:
    """One post-norm block, the `number`-th: float32 [T, D] -> [T, D], or -> [R, D] of `rows`, where they are given."""
    site, out_site, lin2_site = layer_sites(number)
    q, k, v = (exact.linear(x, linear) for linear in (w.q_lin, w.k_lin, w.v_lin))
    context, statistics = _attend(q, k, v, shape.heads, batch, masks, site)
    some = slice(None) if rows is None else rows  # of what follows no row looks at another
    s1 = drop(exact.linear(context[some], w.out_lin), masks.hidden(out_site)) + x[some]
    h, moments1 = layer_norm_forward(s1, w.sa_layer_norm)
    u = exact.linear(h, w.lin1)  # [T, F]
    inner = exact.activation(shape.activation, u)
    s2 = drop(exact.linear(inner, w.lin2), masks.hidden(lin2_site)) + h
    y, moments2 = layer_norm_forward(s2, w.output_layer_norm)
    return y, KeptLayer(x, q, k, v, statistics, context, some, s1, moments1, h, u, s2, moments2)


def layer_back(
    dy: np.ndarray,
    more: np.ndarray | None,
    kept: KeptLayer,
    w: LayerWeights,
    g: LayerWeights,
    number: int,
    shape: Shape,
    batch: PackedBatch,
    masks: Masks,
) -> tuple[np.ndarray, np.ndarray]:
    """The same backwards: `dy` and `more` are two gradients of y, and two of x are returned; x went two ways."""
    site, out_site, lin2_site = layer_sites(number)
    ds2 = norm_back(dy, more, kept.s2, kept.moments2, w.output_layer_norm, g.output_layer_norm)
    inner = exact.activation(shape.activation, kept.u)  # again, instead of keeping it
    dinner = linear_back(drop(ds2, masks.hidden(lin2_site)), inner, w.lin2, g.lin2)
    du = activation_backward(shape.activation, dinner, kept.u)
    dh = linear_back(du, kept.h, w.lin1, g.lin1)
    ds1 = norm_back(dh, ds2, kept.s1, kept.moments1, w.sa_layer_norm, g.sa_layer_norm)
    dattended = linear_back(drop(ds1, masks.hidden(out_site)), kept.context[kept.some], w.out_lin, g.out_lin)
    dcontext, more = np.zeros_like(kept.x), np.zeros_like(kept.x)  # [T, D], where `some` may be [R, D]
    dcontext[kept.some], more[kept.some] = dattended, ds1
    dqkv = _attend_back(kept, dcontext, shape.heads, batch, masks, site)  # [T, 3 D]
    for part, gradients in zip(np.split(dqkv, 3, axis=1), (g.q_lin, g.k_lin, g.v_lin), strict=True):
        linear_gradients(part, kept.x, gradients)
    rows = np.concatenate([w.q_lin.weight, w.k_lin.weight, w.v_lin.weight])  # [3 D, D]: one sum over all three
    return input_gradient(dqkv, rows), more


def _attend(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int, batch: PackedBatch, masks: Masks, site: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Attention within each sentence: context float32 [T, D], and statistics [2, H, n] of each."""
    context, statistics = np.empty_like(q), []
    for start, end in itertools.pairwise(batch.offsets.tolist()):
        q_b, k_b, v_b = (x[start:end].reshape(end - start, heads, -1) for x in (q, k, v))  # [n, H, d] each
        attended, kept = attention_forward(q_b, k_b, v_b, masks.attention(site, start))
        context[start:end] = attended.reshape(end - start, -1)
        statistics.append(kept)
    return context, statistics


def _attend_back(
    kept: KeptLayer, dcontext: np.ndarray, heads: int, batch: PackedBatch, masks: Masks, site: int
) -> np.ndarray:
    """dq, dk and dv side by side: float32 [T, 3 D]."""
    dqkv = np.empty((len(dcontext), 3 * dcontext.shape[1]), np.float32)
    for (start, end), statistics in zip(itertools.pairwise(batch.offsets.tolist()), kept.statistics, strict=True):
        n = end - start
        every = (kept.q, kept.k, kept.v, kept.context, dcontext)
        q, k, v, context, d = (x[start:end].reshape(n, heads, -1) for x in every)  # [n, H, d] each
        gradients = attention_backward(q, k, v, context, d, statistics, masks.attention(site, start))
        dqkv[start:end] = np.concatenate([x.reshape(n, -1) for x in gradients], axis=1)
    return dqkv
