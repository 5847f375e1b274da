"""What stands on top of the encoder, head by head: a few operations over its last hidden states, to be read in one go.

The backend says what an operation is, bit by bit; the weights say which activation stands between two products, as the
families differ in nothing else (`weights/families.py`): DistilBERT has a ReLU there, ELECTRA a GELU or what its
configuration says, and the others BERT's pooler, a tanh. Dropout does nothing outside training. The product over the
vocabulary, alone of all the heads, is the backend's own `masked_lm`.

Legend: `B` sentences, `C` choices of a question, `T` packed tokens, `D` width, `N` labels, `R` rows of any kind. The
"first" token is the first that is attended, [CLS] as a rule: the one row that a head on whole sentences reads.
"""

from __future__ import annotations

import numpy as np

from minidistil.backends.protocol import Backend
from minidistil.weights.model_weights import ClassifierWeights, Linear


def pool(backend: Backend, first: np.ndarray, pooler: Linear) -> np.ndarray:
    """BERT's pooler: the first tokens float32 [B, D] to float32 [B, D]."""
    x = backend.linear(first, pooler)  # [B, D] -> [B, D]
    return backend.activation("tanh", x)  # [B, D]


def sequence_classification(backend: Backend, first: np.ndarray, head: ClassifierWeights) -> np.ndarray:
    """Logits float32 [B, N] of whole sentences from their first tokens float32 [B, D]."""
    return classify(backend, first, head)  # [B, D] -> [B, N]


def multiple_choice(backend: Backend, first: np.ndarray, head: ClassifierWeights, choices: int) -> np.ndarray:
    """Logits float32 [B, C] from the first tokens float32 [B C, D] of each question's choices, one after another."""
    scores = classify(backend, first, head)  # [B C, D] -> [B C, 1]
    return scores.reshape(-1, choices)  # [B, C]


def token_classification(backend: Backend, hidden: np.ndarray, head: Linear) -> np.ndarray:
    """Logits float32 [T, N] of every token float32 [T, D]."""
    return backend.linear(hidden, head)  # [T, D] -> [T, N]


def question_answering(backend: Backend, hidden: np.ndarray, head: Linear) -> tuple[np.ndarray, np.ndarray]:
    """How well the answer begins, and how well it ends, at every token float32 [T, D]: two float32 [T]."""
    logits = backend.linear(hidden, head)  # [T, D] -> [T, 2]
    return np.ascontiguousarray(logits[:, 0]), np.ascontiguousarray(logits[:, 1])  # [T], [T]


def discriminator(backend: Backend, hidden: np.ndarray, head: ClassifierWeights) -> np.ndarray:
    """ELECTRA's guess for every token float32 [T, D] whether it was put in place of another: float32 [T]."""
    return classify(backend, hidden, head)[:, 0]  # [T, D] -> [T, 1] -> [T]


def classify(backend: Backend, x: np.ndarray, head: ClassifierWeights) -> np.ndarray:
    """A head of two products with an activation between them, or of one: float32 [R, D] to [R, N]."""
    if head.dense is not None:
        x = backend.linear(x, head.dense)  # [R, D] -> [R, D]
    if head.activation != "linear":
        x = backend.activation(head.activation, x)  # [R, D]
    return backend.linear(x, head.output)  # [R, D] -> [R, N]
