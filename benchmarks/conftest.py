"""Benchmarks as pytest cases: files bench_*.py, run with `pytest benchmarks -m benchmark`; one table of figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

_LINES = pytest.StashKey[list[tuple[str, ...]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LINES] = []


def pytest_collect_file(file_path: Path, parent: Any) -> Any:
    """Also take bench_*.py, which the default patterns leave out (files named on the command line are taken anyway)."""
    if file_path.match("bench_*.py") and not parent.session.isinitpath(file_path):
        return pytest.Module.from_parent(parent, path=file_path)
    return None


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> list[tuple[str, ...]]:
    """Lines of (what, value, ...) that the summary prints."""
    return request.config.stash[_LINES]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    lines = config.stash[_LINES]
    if lines:
        terminalreporter.section("figures")
        first = max(len(line[0]) for line in lines)
        for line in lines:
            terminalreporter.write_line(f"{line[0]:<{first}}" + "".join(f"{part:>14}" for part in line[1:]))
