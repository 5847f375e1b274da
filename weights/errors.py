"""The one error of this package."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

_SHOWN = 1000  # more than any real model has tensors; a hostile file can name millions


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
        shown = self.faults[:_SHOWN]
        rest = (f"and {len(self.faults) - _SHOWN} more",) if len(self.faults) > _SHOWN else ()
        return "\n  - ".join((f"{self.where}: {len(self.faults)} faults", *shown, *rest))


def quoted(text: str) -> str:
    """A name from a file as it may be shown: printable and of bounded length."""
    shown = text if text.isprintable() and text else ascii(text)
    return shown if len(shown) <= 200 else f"{shown[:197]}..."


def listing(names: Iterable[str]) -> str:
    """Names one after another, as a sentence wants them."""
    everything = list(names)
    rest = [f"and {len(everything) - _SHOWN} more"] if len(everything) > _SHOWN else []
    return ", ".join([*map(quoted, everything[:_SHOWN]), *rest])


def shape_text(shape: Iterable[int]) -> str:
    """A shape as errors write it: [30522, 768]."""
    return f"[{', '.join(map(str, shape))}]"
