"""The heads that can be trained, forwards and backwards; `parts.py` says how a backward pass is to be read.

Legend: `R` rows that the head reads, `D` width, `N` labels, `V` vocabulary.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from minidistil.backends.learning import HEAD_DENSE_SITE, HEAD_SITE
from minidistil.backends.reference import exact
from minidistil.backends.reference.learning.activations import activation_backward
from minidistil.backends.reference.learning.dropout import drop
from minidistil.backends.reference.learning.norms import layer_norm_forward
from minidistil.backends.reference.learning.parts import Masks, linear_back, norm_back
from minidistil.backends.reference.model import NARROW
from minidistil.weights.families import FAMILIES
from minidistil.weights.model_weights import AnyLinear, ClassifierWeights, MaskedLMWeights, ModelWeights


class Head(Protocol):
    """A head: logits of hidden states, and the way back."""

    def forward(self, x: np.ndarray, masks: Masks) -> tuple[np.ndarray, Any]:
        """Logits float32 [R, N] of float32 [R, D], and what is kept."""
        ...

    def back(self, dlogits: np.ndarray, kept: Any, masks: Masks) -> np.ndarray:
        """The gradient of x, float32 [R, D]."""
        ...


def head_of(model_type: str, weights: ModelWeights, gradients: ModelWeights) -> Head:
    """The head that these weights, of `Parameters`, have."""
    w, g = weights, gradients
    if w.masked_lm is not None and g.masked_lm is not None:
        return MaskedWords(w.masked_lm, g.masked_lm)
    if w.sequence_classification is not None and g.sequence_classification is not None:
        return Classifier(w.sequence_classification, g.sequence_classification, FAMILIES[model_type].head_dropout)
    assert w.token_classification is not None
    assert g.token_classification is not None
    last, last_gradients = (
        ClassifierWeights(None, "linear", linear) for linear in (w.token_classification, g.token_classification)
    )
    return Classifier(last, last_gradients, ("output",))


class MaskedWords:
    """Every word of the vocabulary at the masked tokens; no dropout."""

    def __init__(self, w: MaskedLMWeights, g: MaskedLMWeights) -> None:
        self.w, self.g = w, g

    def forward(self, x: np.ndarray, masks: Masks) -> tuple[np.ndarray, Any]:
        """Logits float32 [R, V]."""
        w = self.w
        u = exact.linear(x, w.vocab_transform)  # [R, D] -> [R, D]
        s = exact.activation(w.activation, u)
        y, moments = layer_norm_forward(s, w.vocab_layer_norm)
        return exact.linear(y, w.vocab_projector), (x, u, s, moments, y)  # [R, D] -> [R, V]

    def back(self, dlogits: np.ndarray, kept: Any, masks: Masks) -> np.ndarray:
        """The gradient of x; that of a tied projector goes to the word embeddings, before their own rows do."""
        w, g = self.w, self.g
        x, u, s, moments, y = kept
        dy = linear_back(dlogits, y, w.vocab_projector, g.vocab_projector)
        ds = norm_back(dy, None, s, moments, w.vocab_layer_norm, g.vocab_layer_norm)
        return linear_back(activation_backward(w.activation, ds, u), x, w.vocab_transform, g.vocab_transform)


class Classifier:
    """output(dropout(activation(dense(dropout(x))))): of two products, or of the last alone.

    Args:
        w, g: weights and gradients.
        places: where dropout is, before "dense", before "output".
    """

    def __init__(self, w: ClassifierWeights, g: ClassifierWeights, places: tuple[str, ...]) -> None:
        self.w, self.g, self.places = w, g, places

    def forward(self, x: np.ndarray, masks: Masks) -> tuple[np.ndarray, Any]:
        """Logits float32 [R, N]."""
        w = self.w
        entered = u = x
        if w.dense is not None:
            entered = self._drop("dense", x, masks)
            u = _linear(entered, w.dense)  # [R, D] -> [R, D]
        read = self._drop("output", exact.activation(w.activation, u), masks)
        return _linear(read, w.output), (entered, u, read)  # [R, D] -> [R, N]

    def back(self, dlogits: np.ndarray, kept: Any, masks: Masks) -> np.ndarray:
        """The gradient of x."""
        w, g = self.w, self.g
        entered, u, read = kept
        dread = linear_back(dlogits, read, w.output, g.output)
        dx = activation_backward(w.activation, self._drop("output", dread, masks), u)
        if w.dense is None or g.dense is None:
            return dx
        return self._drop("dense", linear_back(dx, entered, w.dense, g.dense), masks)

    def _drop(self, place: str, x: np.ndarray, masks: Masks) -> np.ndarray:
        site = {"dense": HEAD_DENSE_SITE, "output": HEAD_SITE}[place]
        return drop(x, masks.head(site)) if place in self.places else x


def _linear(x: np.ndarray, w: AnyLinear) -> np.ndarray:
    """The product of a classifier: few columns are summed in orders of their own (reference/model.py)."""
    return exact.narrow(x, w) if len(w.bias) in NARROW else exact.linear(x, w)
