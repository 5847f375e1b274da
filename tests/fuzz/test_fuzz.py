"""Mutated files and random calls end in a result with the bits of `exact`, or in one error that says what is wrong."""

from __future__ import annotations

import sys

import pytest

from tests.fuzz.all import TARGETS
from tests.fuzz.outcomes import Counts
from tests.fuzz.plugin import Fuzzer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are watched through Linux's /proc")
_SHORT = 60  # cases of each target in the quick group


@pytest.fixture(scope="module")
def short_runs(fuzzer: Fuzzer) -> dict[str, Counts]:
    runs = fuzzer(*TARGETS, "--seed", str(fuzzer.short_seed), "--cases", str(_SHORT))
    return {counts.target: counts for counts in runs}


@pytest.mark.parametrize("target", TARGETS)
def test_a_few_of_each(target: str, short_runs: dict[str, Counts]) -> None:
    counts = short_runs[target]
    assert counts.cases == _SHORT
    assert not counts.findings, f"\n{counts.report()}"


@pytest.mark.fuzz
@pytest.mark.parametrize("target", TARGETS)
def test_many(target: str, fuzzer: Fuzzer, pytestconfig: pytest.Config) -> None:
    minutes = pytestconfig.getoption("--fuzz-minutes") / len(TARGETS)
    (counts,) = fuzzer(target, "--seed", str(fuzzer.long_seed), "--minutes", str(minutes))
    assert not counts.findings, f"\n{counts.report()}"
    if counts.cases > 1000:
        assert counts.kinds["accepted"], "what is loaded and computed is a part of the promise"
        assert counts.kinds["refused"]
