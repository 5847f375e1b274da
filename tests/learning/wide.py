"""The loss of a model under training in float64, as plain as can be: what finite differences are taken of.

It shares nothing with the oracle but the masks of dropout, which are numbers given from outside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from minidistil.backends.batch import PackedBatch
from minidistil.backends.learning import Chances, Targets, Task, chance_of
from minidistil.backends.reference.learning.dropout import keep_factors

erf = np.vectorize(math.erf, otypes=[np.float64])
ACTIVATIONS = {
    "gelu": lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
    "relu": lambda x: np.maximum(x, 0),
    "gelu_new": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "linear": lambda x: x,
}
# Family -> whether the head on sentences drops before its first product, and the activation between the two.
HEADS = {"distilbert": (False, "relu"), "bert": (False, "tanh"), "roberta": (True, "tanh")}
HEADS |= dict.fromkeys(("xlm-roberta", "camembert"), HEADS["roberta"])


class Wide:
    """The loss as a function of the parameters.

    Args:
        values: config.json.
        task: the head.
        eps: of every LayerNorm.
        batch, targets: what is learned from.
        chances, step, first_row: of dropout.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        task: Task,
        eps: float,
        batch: PackedBatch,
        targets: Targets,
        chances: Chances,
        step: int = 1,
        first_row: int = 0,
    ) -> None:
        self.family, self.task, self.eps = values["model_type"], task, eps
        self.act = ACTIVATIONS[values.get("activation", values.get("hidden_act"))]
        self.layers, self.n_heads = (
            values.get(name, values.get(other))
            for name, other in (("n_layers", "num_hidden_layers"), ("n_heads", "num_attention_heads"))
        )
        self.batch, self.targets = batch, targets
        self.chances, self.step, self.first_row = chances, step, first_row
        self._masks: dict[tuple, np.ndarray] = {}

    def loss(self, p: Mapping[str, np.ndarray]) -> float:
        """The weighted sum of the three losses; p: name -> float64 array."""
        return sum(self.losses(p))

    def losses(self, p: Mapping[str, np.ndarray]) -> tuple[float, float, float]:
        """Cross entropy, divergence from the teacher, angles to its hidden states; each times its weight."""
        hidden = self._encode(p)
        z = self._head(p, hidden[self.targets.rows])
        hard, soft, T, angle = self.targets.weights
        labelled = np.flatnonzero(self.targets.labels >= 0)
        cross = -_log_softmax(z)[labelled, self.targets.labels[labelled]].sum()
        divergence = angles = 0.0
        if self.targets.teacher_logits is not None:
            teacher = _log_softmax(self.targets.teacher_logits.astype(np.float64) / T)
            divergence = (np.exp(teacher) * (teacher - _log_softmax(z / T))).sum()
        if self.targets.teacher_hidden is not None:
            h, t = hidden, self.targets.teacher_hidden.astype(np.float64)
            angles = (1 - (h * t).sum(1) / np.sqrt((h * h).sum(1) * (t * t).sum(1))).sum()
        return hard * cross, soft * T * T * divergence, angle * angles

    def _encode(self, p: Mapping[str, np.ndarray]) -> np.ndarray:
        b = self.batch
        x = (
            p["embeddings.word_embeddings.weight"][b.input_ids]
            + p["embeddings.position_embeddings.weight"][b.position_ids]
        )
        if "embeddings.token_type_embeddings.weight" in p:
            types = np.zeros(b.tokens, int) if b.token_type_ids is None else b.token_type_ids
            x = x + p["embeddings.token_type_embeddings.weight"][types]
        x = self._norm(p, "embeddings.layer_norm", x) * self._keep(self.chances.hidden, 1, x.shape)
        for i in range(self.layers):
            at = f"layers.{i}."
            q, k, v = (_linear(p, f"{at}{name}", x) for name in ("q_lin", "k_lin", "v_lin"))
            context = np.empty_like(x)
            width = x.shape[1] // self.n_heads
            for start, end in zip(b.offsets[:-1], b.offsets[1:], strict=True):
                for h in range(self.n_heads):
                    here = slice(start, end), slice(h * width, (h + 1) * width)
                    probabilities = np.exp(_log_softmax(q[here] @ k[here].T / math.sqrt(width)))
                    site = 16 + 8 * i + (h << 16)
                    keep = self._keep(self.chances.attention, site, probabilities.shape, int(start))
                    context[here] = (probabilities * keep) @ v[here]
            out = _linear(p, f"{at}out_lin", context) * self._keep_sublayer(i, 17 + 8 * i, x.shape)
            x = self._norm(p, f"{at}sa_layer_norm", x + out)
            inner = self.act(_linear(p, f"{at}lin1", x))
            out = _linear(p, f"{at}lin2", inner) * self._keep_sublayer(i, 18 + 8 * i, x.shape)
            x = self._norm(p, f"{at}output_layer_norm", x + out)
        return x

    def _head(self, p: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
        if self.task == "masked_lm":
            act = self.act if self.family in ("distilbert", "bert") else ACTIVATIONS["gelu"]
            x = self._norm(p, "masked_lm.vocab_layer_norm", act(_linear(p, "masked_lm.vocab_transform", x)))
            words = p.get("masked_lm.vocab_projector.weight", p["embeddings.word_embeddings.weight"])
            return x @ words.T + p["masked_lm.vocab_projector.bias"]
        if f"{self.task}.dense.weight" in p:
            drops, act = HEADS[self.family]
            if drops:
                x = x * self._keep(self.chances.head, 3, x.shape)
            x = ACTIVATIONS[act](_linear(p, f"{self.task}.dense", x))
        return _linear(p, f"{self.task}.output", x * self._keep(self.chances.head, 2, x.shape))

    def _norm(self, p: Mapping[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(1, keepdims=True) + self.eps)
        return p[f"{name}.weight"] * centred / deviation + p[f"{name}.bias"]

    def _keep_sublayer(self, layer: int, site: int, shape: tuple[int, ...]) -> np.ndarray:
        """Where only the head looks at the last layer, the mask counts the rows that it reads."""
        if layer < self.layers - 1 or self.targets.teacher_hidden is not None:
            return self._keep(self.chances.hidden, site, shape)
        keep, rows = np.ones(shape), self.targets.rows
        keep[rows] = self._keep(self.chances.hidden, site, (len(rows), shape[1]))
        return keep

    def _keep(self, chance: float, site: int, shape: tuple[int, ...], start: int = 0) -> np.ndarray:
        key = site, shape, start
        if key not in self._masks:
            drawn = chance_of(chance, self.chances.seed, site, self.step, self.first_row + start)
            self._masks[key] = keep_factors(drawn, *shape).astype(np.float64)
        return self._masks[key]


def _linear(p: Mapping[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def _log_softmax(z: np.ndarray) -> np.ndarray:
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))
