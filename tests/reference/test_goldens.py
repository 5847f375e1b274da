"""`exact` against PyTorch's recorded bits, where that is quick, and the helper that compares them."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minidistil.backends.batch import PackedBatch
from minidistil.backends.protocol import Encoded
from minidistil.backends.reference import Reference
from minidistil.weights import open_checkpoint, read_model
from minidistil.weights.config import Config
from tests.goldens.cases import FAMILIES, MINILM, SYNTHETIC
from tests.goldens.load import Case, assert_case, assert_matches, cases, checkpoint

# Most tokens of a case in the quick suite, and of one that runs at all: `exact` takes some 0.1 s a token at full size.
_QUICK = {"distilbert-base": 2, "distilbert-small": 193, "bert-small": 193, MINILM: 17, **dict.fromkeys(FAMILIES, 22)}
_SLOW = {
    "distilbert-base": 64,
    "distilbert-small": 1000,
    "bert-small": 1000,
    MINILM: 193,
    **dict.fromkeys(FAMILIES, 600),
}


@functools.lru_cache(maxsize=1)  # cases come checkpoint by checkpoint
def _reference(name: str) -> Reference:
    return Reference(*checkpoint(name))


def _cases(names: list[str]) -> list:
    possible = [case for name in names for case in cases(name) if sum(case.lengths) <= _SLOW[name]]
    return [
        pytest.param(
            case,
            marks=[pytest.mark.slow] if sum(case.lengths) > _QUICK[case.checkpoint] else [],
            id=f"{case.checkpoint}-{case.name}",
        )
        for case in possible
    ]


@pytest.mark.parametrize("case", _cases([*SYNTHETIC]))
def test_every_bit(case: Case) -> None:
    assert_case(_reference(case.checkpoint), case)


@pytest.mark.parametrize("case", _cases([MINILM]))
def test_every_bit_of_a_real_checkpoint(case: Case, minilm: Path) -> None:
    assert_case(_reference(case.checkpoint), case)


def test_every_bit_from_files(distilbert_small: Path, bert_small: Path) -> None:
    """The same through config.json and model.safetensors: names, ties and epsilons are read as they should be."""
    for name, folder in (("distilbert-small", distilbert_small), ("bert-small", bert_small)):
        weights = read_model(open_checkpoint(folder))
        reference = Reference(Config.from_pretrained(folder), weights)
        for lengths in ((17,), (5, 1, 16)):
            assert_case(reference, Case(name, lengths))


class _Off:
    """A backend that is wrong by one bit, in one place."""

    def __init__(self, reference: Reference, state: int | None, at: tuple[int, int]) -> None:
        self.reference, self.state, self.at = reference, state, at

    def _flip(self, x: np.ndarray) -> np.ndarray:
        x = x.copy()
        x.view(np.uint32)[self.at] ^= 1
        return x

    def encode(
        self,
        batch: PackedBatch,
        *,
        hidden_states: bool = False,
        attentions: bool = False,
        rows: np.ndarray | None = None,
    ) -> Encoded:
        encoded = self.reference.encode(batch, hidden_states=True)
        assert encoded.hidden_states is not None
        states = tuple(self._flip(s) if i == self.state else s for i, s in enumerate(encoded.hidden_states))
        return replace(encoded, last=states[-1], hidden_states=states)

    def masked_lm(self, hidden: np.ndarray) -> np.ndarray:
        logits = self.reference.masked_lm(hidden)
        return self._flip(logits) if self.state is None else logits


@pytest.mark.parametrize(("state", "at"), [(0, (0, 0)), (1, (9, 77)), (2, (16, 127)), (None, (3, 1199))])
def test_one_wrong_bit_is_found_and_named(state: int | None, at: tuple[int, int]) -> None:
    reference = _reference("distilbert-small")
    what = "logits" if state is None else f"hidden state {state}"
    case = Case("distilbert-small", (17,))
    with pytest.raises(
        AssertionError, match=rf"{what}: 1 of \d+ values differ, the first at \[{at[0]}, {at[1]}\]: got"
    ):
        assert_case(_Off(reference, state, at), case, oracle=reference)
    with pytest.raises(AssertionError, match=what):
        assert_case(_Off(reference, state, at), case)


def test_nan_everywhere_is_no_match() -> None:
    encoded = _reference("distilbert-small").encode(Case("distilbert-small", (17,)).batch(), hidden_states=True)
    assert encoded.hidden_states is not None
    nothing = tuple(np.full_like(s, np.nan) for s in encoded.hidden_states)
    with pytest.raises(AssertionError, match="hidden state 0"):
        assert_matches(Case("distilbert-small", (17,)), Encoded(nothing[-1], nothing))
