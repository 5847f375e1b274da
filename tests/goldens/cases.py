"""The inputs of the goldens: which checkpoints, which sentences.

Everything here is drawn from seeded generators; the digests in the stored goldens tell whether a new NumPy still draws
the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minidistil.backends.batch import PackedBatch
from tests import build
from tests.synthetic import (
    ALBERT_SMALL,
    BERT_SMALL,
    DISTILBERT_BASE,
    DISTILBERT_SMALL,
    ELECTRA_SMALL,
    MOBILEBERT_SMALL,
    ROBERTA_SMALL,
    TINYBERT_SMALL,
)

MINILM = "minilm"  # the real all-MiniLM-L6-v2, from an installed package; the others are synthetic
# With a masked-LM head, but for bert-small, which is a bare model.
FAMILIES = {
    "roberta-small": ROBERTA_SMALL,
    "albert-small": ALBERT_SMALL,
    "electra-small": ELECTRA_SMALL,
    "tinybert-small": TINYBERT_SMALL,
    "mobilebert-small": {**MOBILEBERT_SMALL, "hidden_size": 208},  # where it shows that a bias comes last
}
SYNTHETIC = {
    "distilbert-base": DISTILBERT_BASE,
    "distilbert-small": DISTILBERT_SMALL,
    "bert-small": BERT_SMALL,
    **FAMILIES,
}
VOCABULARY = {**{name: values["vocab_size"] for name, values in SYNTHETIC.items()}, MINILM: 30522}
SEED = 0

# Around every boundary: 16 (the padding of the definition), 192 and 384 (the blocks of a sum over the keys), 512 (the
# end of the position table); lengths below 4, where an unpadded product would leave MKL's regular kernels.
SHORT = (1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 48, 64, 100, 128)
LENGTHS = (*SHORT, 176, 177, 191, 192, 193, 300, 368, 369, 384, 385, 511, 512)
MIXED = ((5, 1, 16), (130, 17, 2, 64), (300, 3, 193, 47, 12), (512, 1, 384))
FEWER = (1, 16, 17, 100, 192, 193, 300, 384, 512)
FEWEST = (1, 17, 100, 193, 512)


@dataclass(frozen=True)
class Case:
    """Sentences of the given lengths for a checkpoint; `bias` adds a random 4-D mask (then all lengths are equal)."""

    checkpoint: str
    lengths: tuple[int, ...]
    bias: bool = False

    @property
    def name(self) -> str:
        """Identifies the case among those of its checkpoint, and seeds its tokens."""
        return "x".join(map(str, self.lengths)) + ("-bias" if self.bias else "")

    def sentences(self) -> list[np.ndarray]:
        """Token ids int64 [n] of each sentence."""
        return [self._generator("ids", b).integers(0, self._words, n) for b, n in enumerate(self.lengths)]

    def token_types(self) -> list[np.ndarray] | None:
        """Token types int64 [n] of each sentence: zeros, then ones from a random place on; None without types."""
        if not has_token_types(self.checkpoint):
            return None
        ends = [self._generator("types", b).integers(0, n + 1) for b, n in enumerate(self.lengths)]
        return [(np.arange(n) >= end).astype(np.int64) for n, end in zip(self.lengths, ends, strict=True)]

    def attention_bias(self) -> np.ndarray | None:
        """float32 [B, 1, S, S]: normal numbers, a fifth of the keys at -inf, one whole row of them; or None."""
        if not self.bias:
            return None
        shape = (len(self.lengths), 1, self.lengths[0], self.lengths[0])
        generator = self._generator("bias", 0)
        bias = 3 * generator.standard_normal(shape, dtype=np.float32)
        bias[generator.random(shape) < 0.2] = -np.inf
        bias[0, 0, 2] = -np.inf
        return bias

    def batch(self) -> PackedBatch:
        """The sentences, packed."""
        sentences = self.sentences()
        return build.batch(sentences, self.token_types(), self.attention_bias(), positions(self.checkpoint, sentences))

    def inputs(self) -> list[np.ndarray]:
        """Every array of the input: what the digest of the inputs is taken over."""
        bias = self.attention_bias()
        return self.sentences() + (self.token_types() or []) + ([] if bias is None else [bias])

    @property
    def _words(self) -> int:
        return VOCABULARY[self.checkpoint]

    def _generator(self, what: str, sentence: int) -> np.random.Generator:
        return np.random.default_rng([zlib.crc32(f"{self.checkpoint}/{self.name}/{what}".encode()), sentence])


def cases(checkpoint: str) -> list[Case]:
    """All cases of a checkpoint."""
    lengths = FEWEST if checkpoint in FAMILIES else FEWER if checkpoint in ("bert-small", MINILM) else LENGTHS
    biased = [Case(checkpoint, (33, 33), bias=True)] if checkpoint != MINILM else []
    mixed = MIXED[:2] if checkpoint in FAMILIES else MIXED
    return [Case(checkpoint, (n,)) for n in lengths] + [Case(checkpoint, m) for m in mixed] + biased


def has_token_types(checkpoint: str) -> bool:
    """Whether a checkpoint distinguishes tokens by type."""
    return checkpoint == MINILM or SYNTHETIC[checkpoint].get("type_vocab_size", 0) > 1


def positions(checkpoint: str, sentences: Sequence[np.ndarray]) -> list[np.ndarray] | None:
    """Positions of each sentence where they do not count from 0: RoBERTa's begin after the padding's id and skip it."""
    if checkpoint != "roberta-small":
        return None
    padding = ROBERTA_SMALL["pad_token_id"]
    result = []
    for sentence in sentences:
        count, own = padding, []
        for token in sentence:
            count += token != padding
            own.append(padding if token == padding else count)
        result.append(np.array(own))
    return result
