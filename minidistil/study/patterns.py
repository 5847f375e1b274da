"""Patterns of attention, by measurement: where a head's attention goes, as a share of all of it.

A share is a mean over the tokens that can have it (the first token has none before it). A head is named by its largest
share, where that is at least `THRESHOLD`; what most heads of a text do by chance (a text of three tokens has a third
everywhere) is named too, so the shares stand beside the name.

Legend: `n` tokens, `L` layers, `H` heads.
"""

from __future__ import annotations

import numpy as np

from minidistil.study.parts import Attention, Pattern
from minidistil.study.sums import total
from minidistil.study.tracing import Trace

NAMES = ("previous", "next", "itself", "special", "broad")
"""The token before; the one after; the token itself; special tokens ([CLS], [SEP]); all tokens alike.

The last is the share of the tokens that a row spreads over: 1 / (n sum of p^2), 1 where all probabilities are equal.
"""
THRESHOLD = 0.5
WARNING = (
    "Attention is no explanation: it says where a head reads, not what the answer is made of. A head may look at a "
    "token whose value it passes over, and other attention can give the same answer. Switch heads off and change "
    "tokens (the interventions) to see what the answer hangs on."
)


def attention(trace: Trace) -> Attention:
    """Every head's attention in a pass, and the patterns that were measured in it."""
    layers = range(trace.model.config.n_layers)
    probabilities = np.stack([trace[f"layer.{i}.attention.probabilities"] for i in layers])  # [L, H, n, n]
    special = np.array(trace.encoding.special_tokens_mask, bool)
    found = []
    for layer, heads in enumerate(probabilities):
        for head, own in enumerate(heads):
            measured = shares(own, special)
            best = max(range(len(NAMES)), key=lambda i: measured[i])
            name = NAMES[best] if measured[best] >= THRESHOLD else ""
            found.append(Pattern(layer, head, name, measured[best] if name else 0.0, measured))
    sums = total(probabilities).astype(np.float32)
    return Attention(probabilities, sums, NAMES, THRESHOLD, tuple(found), WARNING)


def shares(p: np.ndarray, special: np.ndarray) -> tuple[float, ...]:
    """Each pattern's share of one head's attention float32 [n, n], by `NAMES`; special: bool [n]."""
    n = len(p)
    means = (
        _mean(p.diagonal(-1)),
        _mean(p.diagonal(1)),
        _mean(p.diagonal()),
        _mean(total(p[:, special])),
        _mean(1 / (n * np.maximum(total(p.astype(np.float64) ** 2), 1e-30))) if n > 1 else 0.0,
    )
    return tuple(round(mean, 6) for mean in means)


def _mean(x: np.ndarray) -> float:
    return float(total(x)) / len(x) if len(x) else 0.0
