"""DistilBERT and its family in plain NumPy, to be read from top to bottom.

The encoder of "DistilBERT, a distilled version of BERT" (Sanh et al., 2019): BERT's post-norm Transformer (Devlin et
al., 2018) with half the layers. The family differs in what goes in: BERT adds token types, RoBERTa counts positions
otherwise, ALBERT and ELECTRA project narrower embeddings to the model's width, and ALBERT's layers share their weights.
So one text serves all but MobileBERT, whose layers are others (mobile_bert.py). What a matrix product, a LayerNorm, an
activation or an attention is, bit by bit, is the business of the operations: `exact` has PyTorch's bits, `blas` is
ordinary NumPy. docs/arithmetic.md tells why the two differ.

Legend: `B` sentences, `T` packed tokens, `n` tokens of one sentence, `E` embedding width (`D` in most families), `D`
width, `H` heads, `I` their width together (`D` in most families), `d` = I / H, `F` feed-forward width, `V` vocabulary,
`L` layers, `R` rows asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from minidistil._float_mode import default_mode
from minidistil.backends.batch import PackedBatch
from minidistil.backends.protocol import Encoded, as_columns
from minidistil.backends.reference import exact, mobile_bert
from minidistil.backends.reference.operations import Operations
from minidistil.weights.model_weights import (
    AnyLinear,
    EmbeddingWeights,
    LayerWeights,
    MobileEmbeddingWeights,
    MobileLayerWeights,
    ModelWeights,
    Norm,
)

if TYPE_CHECKING:
    from minidistil.weights.config import Config

# The layers that are others than `Reference._layer`, by the class of their weights.
LAYERS: dict[type, Callable[..., tuple[np.ndarray, tuple[np.ndarray, ...]]]] = {
    MobileLayerWeights: mobile_bert.layer,
}

NARROW = range(1, 12)  # columns of a head's last product that PyTorch sums in an order of their own


class Reference:
    """The encoder and the masked-language-model head.

    Args:
        config: of the model; the number of heads and the activation are what the weights do not tell.
        weights: of the encoder, and of the head where `masked_lm` is wanted.
        ops: the module `exact` (PyTorch's bits, slow) or `blas` (float tolerance, quick).
    """

    def __init__(self, config: Config, weights: ModelWeights, ops: Operations = exact) -> None:
        self.config = config
        self.heads: int = config.n_heads
        self.feed_forward_activation: str = config.activation
        self.weights = weights
        self.ops = ops

    @np.errstate(over="ignore", invalid="ignore")  # infinities and NaN go through as they do in PyTorch
    @default_mode()
    def encode(
        self,
        batch: PackedBatch,
        *,
        hidden_states: bool = False,
        attentions: bool = False,
        rows: np.ndarray | None = None,
    ) -> Encoded:
        """Run the encoder over a packed batch.

        Args:
            batch: B sentences, T tokens.
            hidden_states: keep what enters the first layer and what leaves each.
            attentions: keep the softmax of each layer and sentence.
            rows: int [R], the tokens whose last hidden state is wanted; None for all T.

        Returns:
            `Encoded`: float32 [T, D] or [R, D], and what else was asked for.
        """
        batch.check(self.config)
        if rows is not None:
            rows = batch.rows(rows)
        x = self._embed(self.weights.encoder.embeddings, batch)  # [T] -> [T, D]
        states = [x]
        softmaxes = []
        for layer in self.weights.encoder.layers:
            x, probabilities = self._layer(x, layer, batch)  # [T, D] -> [T, D]
            if hidden_states:
                states.append(x)
            if attentions:
                softmaxes.append(probabilities)
        return Encoded(
            last=x if rows is None else x[rows],  # [T, D] -> [R, D]
            hidden_states=tuple(states) if hidden_states else None,
            attentions=tuple(softmaxes) if attentions else None,
        )

    @default_mode()
    def masked_lm(self, hidden: np.ndarray) -> np.ndarray:
        """Score every word of the vocabulary for each hidden state.

        Args:
            hidden: float32 [R, D], rows of the last layer.

        Returns:
            Logits float32 [R, V].

        Raises:
            ValueError: the weights have no such head.
        """
        head = self.weights.masked_lm
        if head is None:
            raise ValueError("these weights have no masked-language-model head: read them with it to get logits")
        x = self.ops.activation(head.activation, self.ops.linear(hidden, head.vocab_transform))  # [R, D] -> [R, E]
        x = self.ops.layer_norm(x, head.vocab_layer_norm)  # [R, E] -> [R, E]
        if head.extension is not None:
            return self.ops.product(x, head.projection()) + head.vocab_projector.bias  # [R, D] -> [R, V]
        return self.ops.linear(x, head.vocab_projector)  # [R, E] -> [R, V]

    # The operations by themselves, for the heads (minidistil/models/heads.py), which every backend shares.

    @default_mode()
    def linear(self, x: np.ndarray, w: AnyLinear) -> np.ndarray:
        """x W^T + b: [M, K] -> [M, N]."""
        return self.ops.narrow(x, w) if len(w.bias) in NARROW else self.ops.linear(x, w)

    @default_mode()
    def products(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """x y^T of vectors: [M, K], [N, K] -> [M, N]."""
        return self.ops.linear(x, as_columns(y))[:, : len(y)]

    @default_mode()
    def layer_norm(self, x: np.ndarray, w: Norm) -> np.ndarray:
        """(x - mean) / sqrt(var + eps) * gamma + beta: [M, D] -> [M, D]."""
        return self.ops.layer_norm(x, w)

    @default_mode()
    def activation(self, name: str, x: np.ndarray) -> np.ndarray:
        """An activation by its name in config.json: any shape."""
        return self.ops.activation(name, x)

    def _embed(self, w: EmbeddingWeights | MobileEmbeddingWeights, batch: PackedBatch) -> np.ndarray:
        """What enters the first layer."""
        if isinstance(w, MobileEmbeddingWeights):
            return mobile_bert.embed(self.ops, w, batch)  # [T] -> [T, D]
        ids, types = batch.input_ids, batch.token_type_ids
        x = self.ops.embed(w, ids, batch.position_ids, types, batch.inputs_embeds)  # [T] -> [T, E]
        x = self.ops.layer_norm(x, w.layer_norm)  # [T, E] -> [T, E]
        return x if w.projection is None else self.ops.linear(x, w.projection)  # [T, E] -> [T, D]

    def _layer(
        self, x: np.ndarray, w: LayerWeights | MobileLayerWeights, batch: PackedBatch
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """One post-norm block: attention, add and normalize, feed-forward, add and normalize."""
        other = LAYERS.get(type(w))
        if other is not None:
            attend = functools.partial(self._attention, batch=batch)
            return other(self.ops, x, w, self.feed_forward_activation, attend)  # [T, D] -> [T, D]
        assert isinstance(w, LayerWeights)
        q, k, v = (self.ops.linear(x, linear) for linear in (w.q_lin, w.k_lin, w.v_lin))  # [T, D] -> [T, D]
        context, probabilities = self._attention(q, k, v, batch)  # [T, D]
        attended = self.ops.linear(context, w.out_lin)  # [T, D] -> [T, D]
        h = self.ops.layer_norm(attended + x, w.sa_layer_norm)  # [T, D] -> [T, D]
        inner = self.ops.activation(self.feed_forward_activation, self.ops.linear(h, w.lin1))  # [T, D] -> [T, F]
        y = self.ops.linear(inner, w.lin2)  # [T, F] -> [T, D]
        return self.ops.layer_norm(y + h, w.output_layer_norm), probabilities  # [T, D] -> [T, D]

    def _attention(
        self, q: np.ndarray, k: np.ndarray, v: np.ndarray, batch: PackedBatch
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Multi-head attention between its products; a sentence attends to itself only."""
        T, width = q.shape
        q, k, v = (x.reshape(T, self.heads, -1) for x in (q, k, v))  # [T, I] -> [T, H, d]
        context = np.empty_like(q)  # [T, H, d]
        probabilities = []
        for b in range(batch.sentences):
            at = slice(batch.offsets[b], batch.offsets[b + 1])  # its n tokens
            bias = None if batch.attention_bias is None else batch.attention_bias[b]  # [1 or H, n, n]
            context[at], softmax = self.ops.attention(q[at], k[at], v[at], bias)  # [n, H, d] -> [n, H, d], [H, n, n]
            probabilities.append(softmax)
        return context.reshape(T, width), tuple(probabilities)  # [T, H, d] -> [T, I]
