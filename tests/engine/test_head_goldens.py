"""Heads against PyTorch's recorded results, stage by stage: bit for bit where its matrix product keeps one order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import minidistil
from tests.goldens import heads
from tests.goldens.load import inputs_digest, weights_digest
from tests.heads import FEW_LABELS, HEADS, ONE_PRODUCT, SUMMARIES, Head
from tests.synthetic import tensors


@pytest.mark.parametrize("backend", ["engine", "exact"])
@pytest.mark.parametrize("head", HEADS + FEW_LABELS + ONE_PRODUCT + SUMMARIES, ids=lambda head: head.key)
def test_every_stage(head: Head, backend: str, tmp_path: Path) -> None:
    record, arrays = heads.golden()["heads"][head.key], heads.inputs(head)
    assert weights_digest(tensors(head.config(), seed=2)) == record["weights"], "NumPy draws other weights"
    assert inputs_digest(tuple(arrays.values())) == record["inputs"], "NumPy draws other sentences"
    model = minidistil.load(head.write(tmp_path), backend=backend, threads=1)
    want = {name: heads.decode(stored) for name, stored in record["stages"].items()}
    heads.assert_stages(head, heads.stages(model, arrays), want, arrays["attention_mask"])


def test_bits_are_asked_for_wherever_the_order_is_one() -> None:
    for head in HEADS + FEW_LABELS + ONE_PRODUCT + SUMMARIES:
        stages = heads.golden()["heads"][head.key]["stages"]
        exact = {name for name, x in stages.items() if heads.exact_regime(head, name, np.empty(x["shape"], np.float32))}
        assert exact == set(stages)
