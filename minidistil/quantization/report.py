"""What quantizing did to a model: as a table, and as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidistil.quantization.costs import Cost
from minidistil.weights.narrow import kept_columns


@dataclass(frozen=True)
class Part:
    """A product, or a table of embeddings.

    Attributes:
        name: as `keep` takes it: `layer.0.qkv`, `embeddings.word_embeddings`.
        shape: N and K; of queries, keys and values together, of which each has a third of the rows. V and E of a table.
        precision: "int8", or "float32" where it was kept.
        smoothed: whether its input is smoothed.
        kept_columns: how many of its columns are float32, where it is int8.
        bytes: of its weight as it is stored, with its scales and those columns.
        error: of what it makes, relative to float32; None where it was not measured.
        cosine: mean of the last hidden states' cosines to float32 where it alone is int8; None likewise, and
            of what stands behind them.
        least_cosine: of a token.
    """

    name: str
    shape: tuple[int, int]
    precision: str
    smoothed: bool
    kept_columns: int
    bytes: int
    error: float | None = None
    cosine: float | None = None
    least_cosine: float | None = None


@dataclass(frozen=True)
class Report:
    """What was made, and what it costs.

    Attributes:
        folder: of the result.
        source: what it was made of.
        parts: what is int8, or was kept, that with the least cosine first.
        calibration: what the inputs' ranges were told by.
        judged_by: the texts that costs were measured on; None where they were not.
        cosine: of the last hidden states to float32: mean over tokens.
        least_cosine: of a token.
        bytes_before: of products and tables, which is nearly everything, in float32.
        bytes_after: of the same as they are stored now.
        keep, keep_columns, smooth, limit_pairs: as they were asked for.
    """

    folder: Path
    source: str
    parts: tuple[Part, ...]
    calibration: str
    judged_by: str | None
    cosine: float | None
    least_cosine: float | None
    bytes_before: int
    bytes_after: int
    keep: tuple[str, ...]
    keep_columns: float
    smooth: bool
    limit_pairs: bool

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        parts = [{**asdict(part), "shape": list(part.shape)} for part in self.parts]
        return {**asdict(self), "folder": str(self.folder), "parts": parts, "keep": list(self.keep)}

    def save(self, file: str | os.PathLike[str]) -> Path:
        """Write a file of JSON; returns its path."""
        path = Path(file)
        path.write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    def __str__(self) -> str:
        header = ["", "rows x columns", "stored as", "columns kept", "error", "cosine", "least", "MB"]
        rows = [header, *map(_cells, self.parts)]
        # None of what was not measured or not asked for.
        columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
        aligned = [
            [cell.rjust(width) if i else cell.ljust(width) for cell in column]
            for i, (column, width) in enumerate((column, max(map(len, column))) for column in columns)
        ]
        lines = ["  ".join(cells).rstrip() for cells in zip(*aligned, strict=True)]
        return "\n".join([*lines, "", *(f"{name:14}{value}" for name, value in self.facts().items())])

    def facts(self) -> Mapping[str, str]:
        """What is to be said of the whole model, by what it is."""
        found = {
            "weights": f"{self.bytes_before / 1e6:,.1f} MB in float32, now {self.bytes_after / 1e6:,.1f} MB",
            "calibrated": self.calibration,
        }
        if self.keep_columns:
            found["columns kept"] = f"{100 * self.keep_columns:g} % of each product's in int8, in float32"
        if self.cosine is not None and self.least_cosine is not None:
            found["measured on"] = str(self.judged_by)
            found["whole model"] = f"cosine to float32 {self.cosine:.6f}, least of a token {self.least_cosine:.5f}"
        return found


def in_order(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Those that cost most first; then those that were not measured, and those that were kept."""

    def place(part: Part) -> tuple[bool, float]:
        return part.precision == "float32", 1.0 if part.cosine is None else part.cosine

    return tuple(sorted(parts, key=place))


def kept_part(name: str, shape: tuple[int, int]) -> Part:
    """One that stays float32."""
    return Part(name, shape, "float32", False, 0, 4 * shape[0] * shape[1])


def narrow_part(name: str, shape: tuple[int, int], smooth: np.ndarray | None, cost: Cost | None) -> Part:
    """One in int8, and what was measured of it; smooth float32 [K] as an Int8Linear has it."""
    columns, smoothed = len(kept_columns(smooth)), smooth is not None and bool(((smooth != 0) & (smooth != 1)).any())
    size = shape[0] * shape[1] + 4 * shape[0] + 4 * columns * shape[0] + (0 if smooth is None else smooth.nbytes)
    if cost is None:
        return Part(name, shape, "int8", smoothed, columns, size)
    mean, least = cost.cosines or (None, None)
    return Part(name, shape, "int8", smoothed, columns, size, cost.error, mean, least)


def _cells(part: Part) -> list[str]:
    """A part's row of the table; what was not measured is empty."""
    return [
        part.name,
        f"{part.shape[0]} x {part.shape[1]}",
        part.precision,
        str(part.kept_columns or ""),
        "" if part.error is None else f"{part.error:.2%}",
        "" if part.cosine is None else f"{part.cosine:.6f}",
        "" if part.least_cosine is None else f"{part.least_cosine:.5f}",
        f"{part.bytes / 1e6:.2f}",
    ]
