"""Each exact operation against PyTorch's recorded bits, on enough numbers to tell a coefficient's last bit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from minidistil.backends.reference import exact
from minidistil.weights.model_weights import Linear, Norm
from tests.bits import canonical, digest
from tests.goldens.load import FOLDER, OPERATIONS, inputs_digest
from tests.goldens.operations import operations

_GOLDEN = json.loads((FOLDER / f"{OPERATIONS}.json").read_text())["operations"]
_ALL = operations()


def _run(function: str, arguments: tuple) -> np.ndarray:
    if function == "linear":
        x, w, b = arguments
        return exact.linear(x, Linear(w, b))
    if function == "layer_norm":
        x, w, b, eps = arguments
        return exact.layer_norm(x, Norm(w, b, eps))
    if function == "attention":
        return exact.attention(*arguments)[0]
    if function == "activation":
        return exact.activation(*arguments)
    return exact.gelu(*arguments)


@pytest.mark.parametrize("name", _ALL)
def test_every_bit(name: str) -> None:
    function, arguments = _ALL[name]
    assert inputs_digest(arguments) == _GOLDEN[name]["inputs"], "NumPy draws other numbers than the golden had"
    assert digest(canonical(_run(function, arguments))) == _GOLDEN[name]["digest"]


def test_no_golden_is_forgotten() -> None:
    assert set(_GOLDEN) == set(_ALL)
