"""A progress bar on standard error, or none."""

from __future__ import annotations

import contextlib
from typing import Any

from minidistil._loading import loading


class _NoBar:
    def update(self, count: int) -> None:
        """Show nothing."""

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """Show nothing."""


def progress(
    total: int | None,
    show: bool | None,
    unit: str = "sentences",
    done: int = 0,
    delay: float = 0,
    verb: str = "Encoding",
) -> Any:
    """Return a context that gives something with `update(count)`.

    Args:
        total: how many there are, or None.
        show: whether to show anything.
        unit: what is counted.
        done: how many were done before.
        delay: seconds before the bar appears; with any, it vanishes at the end.
        verb: what is being done.
    """
    if not show:
        return contextlib.nullcontext(_NoBar())
    with loading():
        from tqdm.auto import tqdm

    return tqdm(total=total, initial=done, desc=verb, unit=f" {unit}", delay=delay, leave=not delay)
