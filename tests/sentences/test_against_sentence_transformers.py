"""The real all-MiniLM-L6-v2: tokens bit for bit against transformers, vectors against sentence-transformers, live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from tests.bits import assert_same_bits
from tests.goldens.cases import MINILM
from tests.parity.conftest import torch_reference  # noqa: F401
from tests.sentences.goldens import DOCUMENTS, assert_near
from tests.synthetic_tokenizer import _WORDS

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore::minidistil.TruncationWarning")]
RNG = np.random.default_rng(17)
SENTENCES = [*DOCUMENTS, *(" ".join(RNG.choice(_WORDS, n)) for n in (1, 7, 15, 31, 90, 200, 300))]


@pytest.mark.parametrize("batch_size", [None, 3])
def test_token_embeddings_bit_for_bit(torch_reference: Any, minilm: Path, batch_size: int | None) -> None:  # noqa: F811
    """In the pinned configuration, each sentence alone; ours in batches of mixed lengths."""
    model = minidistil.load(minilm, threads=2)
    found = model.encode(SENTENCES, output_value=None, batch_size=batch_size)
    assert max(len(one["input_ids"]) for one in found) == 256
    for one, text in zip(found, SENTENCES, strict=True):
        ids = one["input_ids"]
        states, _ = torch_reference.alone(MINILM, ids, np.zeros_like(ids), None, 1)
        assert_same_bits(one["token_embeddings"], states[-1], text[:40])


def test_vectors(minilm: Path) -> None:
    """Padded batches there: 2e-6 of a vector's length, a cosine of 1 - 2e-12."""
    theirs = pytest.importorskip("sentence_transformers", reason="pip install sentence-transformers")
    model, reference = minidistil.load(minilm, threads=2), theirs.SentenceTransformer(str(minilm), device="cpu")
    got, want = model.encode(SENTENCES), reference.encode(SENTENCES)
    assert_near(got, want)
    for precision in ("binary", "ubinary"):
        clear = np.abs(want) > 1e-6  # where the sign is certain
        packed = model.encode(SENTENCES, precision=precision).view(np.uint8) ^ (0x80 if precision == "binary" else 0)
        assert (np.unpackbits(packed, axis=1) == (want > 0))[clear].all()
    np.testing.assert_allclose(model.similarity(got, got), reference.similarity(want, want).numpy(), atol=2e-6)
