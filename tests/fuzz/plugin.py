"""pytest's side: the options, the runs in a process of their own, the counts at the end."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fuzz.outcomes import HEAD, ROOT, Counts
from tests.fuzz.server import workplace
from tests.processes import started

_RUNS = pytest.StashKey[list[Counts]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fuzz", "mutated files and random calls")
    group.addoption("--fuzz-minutes", type=float, default=5.0, help="of `-m fuzz`, for all its targets together")
    group.addoption("--fuzz-seed", type=int, help="unset, 0 for the short run, another each time for `-m fuzz`")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RUNS] = []


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    runs = config.stash[_RUNS]
    if runs:
        terminalreporter.section("mutated files and random calls")
        terminalreporter.line(HEAD)
        for counts in runs:
            terminalreporter.line(counts.line())


class Fuzzer:
    """Runs targets in a process that has no threads and has loaded nothing else, as children are forked from it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        seed = config.getoption("--fuzz-seed")
        self.short_seed: int = 0 if seed is None else seed
        self.long_seed: int = random.SystemRandom().randrange(1 << 32) if seed is None else seed

    def __call__(self, *arguments: str) -> Iterator[Counts]:
        """Run `python -m tests.fuzz` with these arguments; the counts of each target as it ends."""
        with workplace() as place:
            command = [sys.executable, "-m", "tests.fuzz", *arguments, "--json", "--place", str(place)]
            with started(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
                for line in process.stdout:
                    counts = Counts.from_json(line)
                    self._config.stash[_RUNS].append(counts)
                    yield counts
                status = process.wait()
        if status not in (0, 1):  # 1: something was found, which the counts say
            pytest.fail(f"{' '.join(command)}: exit status {status}")


@pytest.fixture(scope="session")
def fuzzer(request: pytest.FixtureRequest) -> Fuzzer:
    return Fuzzer(request.config)
