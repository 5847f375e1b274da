"""The engine against PyTorch's recorded bits: every hidden state and every logit, at full size."""

from __future__ import annotations

import functools

import pytest

from minidistil.backends.engine import Engine
from minidistil.backends.reference import Reference, exact
from tests.goldens.cases import MINILM, SYNTHETIC
from tests.goldens.load import Case, assert_case, cases, checkpoint

_CASES = [case for name in SYNTHETIC for case in cases(name)]


@functools.lru_cache(maxsize=1)  # cases come checkpoint by checkpoint
def _backends(name: str, threads: int) -> tuple[Engine, Reference]:
    config, weights = checkpoint(name)
    return Engine(config, weights, threads=threads), Reference(config, weights, exact)


@pytest.mark.parametrize("case", _CASES, ids=lambda c: f"{c.checkpoint}-{c.name}")
def test_every_bit(case: Case) -> None:
    engine, oracle = _backends(case.checkpoint, 1)
    assert_case(engine, case, oracle)


@pytest.mark.parametrize("case", cases("distilbert-small"), ids=lambda c: c.name)
def test_every_bit_on_two_threads(case: Case) -> None:
    engine, oracle = _backends(case.checkpoint, 2)
    assert_case(engine, case, oracle)


@pytest.mark.parametrize("case", cases(MINILM), ids=lambda c: c.name)
def test_every_bit_of_a_real_checkpoint(case: Case, minilm: object) -> None:
    engine, oracle = _backends(case.checkpoint, 1)
    assert_case(engine, case, oracle)
