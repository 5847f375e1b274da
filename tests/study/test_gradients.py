"""Gradients are those of the model, held against finite differences; what has none says so."""

from __future__ import annotations

import numpy as np
import pytest

from minidistil.study.answers import Following
from minidistil.study.gradients import gradient_x_input
from minidistil.study.parts import LeftOut
from minidistil.study.tracing import trace
from tests.bits import assert_same_bits
from tests.heads import HEADS
from tests.study.conftest import MASKED_LM, TEXT, class_name

NAMED = {head.name: head for head in HEADS}
LEARNED = [MASKED_LM[0], NAMED["BertForSequenceClassification"], NAMED["RobertaForTokenClassification"]]


@pytest.mark.parametrize("key", LEARNED, ids=class_name)
def test_gradients_are_what_a_small_change_does(load, key):
    """For each token: its word's embedding a little longer or shorter, and the logarithm of the probability."""
    model = load(key, threads=1)
    found = trace(model, TEXT)
    following = Following(found)
    told = gradient_x_input(following)
    assert told.tokens == tuple(range(found.batch.tokens))
    assert np.abs(told.values).max() > 1e-3
    step, wanted = 2**-6, []
    for token in told.tokens:
        logs = []
        for factor in (1 + step, 1 - step):
            longer = found["embeddings.word"].copy()
            longer[token] *= np.float32(factor)
            changed = found.patched({"embeddings.word": longer})
            logs.append(np.log(np.float64(following.values(changed[changed.last])[0])))
        wanted.append((logs[0] - logs[1]) / (2 * step))
    assert told.values == pytest.approx(wanted, abs=2e-2 * float(np.abs(told.values).max()))


@pytest.mark.parametrize("key", LEARNED, ids=class_name)
def test_gradients_have_the_same_bits_on_the_reference(load, key):
    told = [
        gradient_x_input(Following(trace(load(key, backend=backend), TEXT))).values for backend in ("engine", "exact")
    ]
    assert_same_bits(*told, class_name(key))


@pytest.mark.parametrize(
    "key",
    ["DistilBert", NAMED["BertForQuestionAnswering"], NAMED["MobileBertForSequenceClassification"]],
    ids=class_name,
)
def test_what_has_no_backward_pass_is_left_out_and_said(load, key):
    told = gradient_x_input(Following(trace(load(key, threads=1), TEXT)))
    assert isinstance(told, LeftOut)
    assert told.section == "attribution"
    assert "backward pass" in told.reason
