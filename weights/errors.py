"""The one error of this package."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path


class CheckpointError(ValueError):
    """A checkpoint cannot be used; says where it lies and everything that is wrong with it.

    Attributes:
        where: the file, folder or name that was asked for.
        faults: one sentence a fault, all that were found.
    """

    def __init__(self, where: str | Path, faults: str | Sequence[str]) -> None:
        self.where = str(where)
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__(self.where, self.faults)  # these args are what pickle rebuilds the error from

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return f"{self.where}: {self.faults[0]}"
        return "\n  - ".join((f"{self.where}: {len(self.faults)} faults", *self.faults))


def quoted(text: str) -> str:
    """A name from a file as it may be shown: printable and of bounded length."""
    shown = text if text.isprintable() and text else ascii(text)
    return shown if len(shown) <= 200 else f"{shown[:197]}..."


def listing(names: Iterable[str]) -> str:
    """Names one after another, as a sentence wants them."""
    return ", ".join(quoted(name) for name in names)


def shape_text(shape: Iterable[int]) -> str:
    """A shape as errors write it: [30522, 768]."""
    return f"[{', '.join(map(str, shape))}]"
