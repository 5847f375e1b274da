"""Heads against PyTorch's recorded results, stage by stage: bit for bit where its matrix product keeps one order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import minidistil
from tests.goldens import heads
from tests.goldens.load import inputs_digest, weights_digest
from tests.heads import HEADS, Head
from tests.synthetic import tensors


@pytest.mark.parametrize("backend", ["engine", "exact"])
@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.name)
def test_every_stage(head: Head, backend: str, tmp_path: Path) -> None:
    record, arrays = heads.golden()["heads"][head.name], heads.inputs(head)
    assert weights_digest(tensors(head.config(), seed=2)) == record["weights"], "NumPy draws other weights"
    assert inputs_digest(tuple(arrays.values())) == record["inputs"], "NumPy draws other sentences"
    model = minidistil.load(head.write(tmp_path), backend=backend, threads=1)
    want = {name: heads.decode(stored) for name, stored in record["stages"].items()}
    heads.assert_stages(head, heads.stages(model, arrays), want, arrays["attention_mask"])


def test_bits_are_asked_for_wherever_the_order_is_one() -> None:
    exact = {
        (head.family, head.task, name)
        for head in HEADS
        for name, stored in heads.golden()["heads"][head.name]["stages"].items()
        if heads.exact_regime(head, name, np.empty(stored["shape"], np.float32).reshape(-1, stored["shape"][-1]))
    }
    for task in ("SequenceClassification", "MultipleChoice"):
        assert {(family, t, stage) for family, t, stage in exact if t == task} >= {
            ("DistilBert", task, "dense"),
            ("DistilBert", task, "activated"),
            ("Bert", task, "dense"),
        }
    assert ("DistilBert", "SequenceClassification", "logits") in exact
    assert {("DistilBert", "TokenClassification", "logits"), ("Bert", "TokenClassification", "logits")} <= exact
