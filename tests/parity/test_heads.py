"""Every head of every family against transformers, stage by stage, on batches that hypothesis draws.

Bit for bit where PyTorch's matrix product keeps one order (from four rows and twelve outputs on) and no tanh, which is
MKL's own, comes between; elsewhere within 2e-6 of the largest value (tests/goldens/heads.py).
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
from tests.goldens import heads
from tests.heads import CHOICES, HEADS, Head

pytestmark = pytest.mark.parity


@functools.cache
def _model(head: Head, folder: Path, threads: int) -> Model[Any]:
    return minidistil.load(head.write(folder / head.name), threads=threads)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("heads")


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.name)
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
