"""Every variation of a configuration against transformers, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidistil.backends.engine import Engine
from minidistil.models.inputs import pack_sentences
from tests import build
from tests.bits import assert_same_bits
from tests.families import SHAPES, VARIATIONS, sentence
from tests.parity.test_operations import OF_TANH

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("name", {**VARIATIONS, **SHAPES})
@pytest.mark.parametrize("length", [13, 48])
def test_against_transformers(request: pytest.FixtureRequest, torch_reference: Any, name: str, length: int) -> None:
    values = {**VARIATIONS, **SHAPES}[name]
    if values.get("activation", values.get("hidden_act")) in OF_TANH:
        request.getfixturevalue("torch_tanh")
    config = build.config(values)
    ids, types = sentence(values, length)
    engine = Engine(config, build.model_weights(values), threads=1)
    batch = pack_sentences(config, [ids], None if types is None else types.astype(np.int32))
    encoded = engine.encode(batch, hidden_states=True)
    states, logits = torch_reference.alone_of(values, 0, ids, types)
    found = [*(encoded.hidden_states or ()), engine.masked_lm(encoded.last)]
    for i, (got, want) in enumerate(zip(found, [*states, logits], strict=True)):
        assert_same_bits(got, np.ascontiguousarray(want), f"{name}, state {i} of {len(found)}, the last the logits")
