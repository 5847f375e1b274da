"""Every head of every family against transformers, stage by stage, on batches that hypothesis draws.

Bit for bit where PyTorch's sums do not look at how many rows there are and no tanh, which is MKL's own, comes before;
elsewhere within 2e-6 of the largest value (tests/goldens/heads.py).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import minidistil
from minidistil.model import Model
from minidistil.reference import exact
from minidistil.weights import Linear
from tests.bits import assert_same_bits
from tests.goldens import heads
from tests.heads import CHOICES, FEW_LABELS, HEADS, REAL_WIDTHS, Head

pytestmark = pytest.mark.parity


@functools.cache
def _model(head: Head, folder: Path, threads: int) -> Model[Any]:
    return minidistil.load(head.write(folder / head.key), threads=threads)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("heads")


@pytest.mark.parametrize("head", HEADS + FEW_LABELS + REAL_WIDTHS, ids=lambda head: head.key)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**32 - 1), st.sampled_from([1, 2]))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_stage(
    torch_reference: Any, folder: Path, head: Head, sentences: int, sixteens: int, seed: int, threads: int
) -> None:
    if head.task == "MultipleChoice":
        sentences *= CHOICES
    arrays = head.inputs(sentences, 16 * sixteens, seed)
    mask = arrays["attention_mask"].reshape(sentences, -1)
    for b, n in enumerate(np.random.default_rng(seed).integers(1, 16 * sixteens + 1, sentences)):
        mask[b, n:] = 0
    want = torch_reference.head_stages(head, arrays)
    heads.assert_stages(head, heads.stages(_model(head, folder, threads), arrays), want, arrays["attention_mask"])


@given(st.integers(9, 70), st.integers(1, 900), st.integers(2, 11), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_products_of_few_columns(torch_reference: Any, m: int, k: int, n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    x, w, b = (generator.standard_normal(shape, dtype=np.float32) for shape in ((m, k), (n, k), n))
    assert_same_bits(exact.narrow(x, Linear(w, b)), torch_reference.linear(x, w, b))
