"""All that a process of the comparison may be."""

from __future__ import annotations

from typing import Any

from benchmarks.training.learners import LEARNERS


def _where() -> Any:
    from benchmarks.training.where import Where  # here: PyTorch's process is to import nothing of ours

    return Where()


PEERS: dict[str, Any] = {**LEARNERS, "where": _where}
