"""Ends a process at the n-th of the moments that matter: around each call of the disk, and where `tick` is called."""

from __future__ import annotations

import math
import os
import signal
from typing import Any

import pytest

_CALLS = ("fsync", "replace", "unlink", "mkdir")


class Moments:
    """Counts down in the process that sets `left`, and kills it.

    Args:
        patch: of `os`, whose calls tick before and after.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.left = math.inf
        for name in _CALLS:
            patch.setattr(os, name, self._around(getattr(os, name)))

    def tick(self) -> None:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _around(self, call: Any) -> Any:
        def ticking(*args: Any, **options: Any) -> Any:
            self.tick()
            found = call(*args, **options)
            self.tick()
            return found

        return ticking
