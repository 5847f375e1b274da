"""Results of training as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.report import lead, machine_lines, table

_TRAFFIC = 36  # bytes a parameter: values, gradients and two moments, read and written; and read once for the norm
_LEGEND = """\
Tokens that are no padding a second of whole steps (forward, backward, clipping, AdamW, packing), by the median of calls
in turns, with the 10th and 90th percentile; the faster is bold. Lead is ours over the fastest other, and the last
column the same of the greatest speeds. Texts a step and padding are of the engine that pads, sorted by length."""


def markdown(results: dict[str, Any]) -> str:
    """The whole report."""
    parts = ["\n".join(["# Training side by side", "", *machine_lines(results), "", _LEGEND])]
    if results["rows"]:
        parts += ["## Tokens a second\n\n" + _speeds(results["rows"])]
    memory = [row for row in results["rows"] if row["peak_mb"]]
    if memory:
        parts += [
            "## Peak memory (MB)\n\nOf the whole process after the first row of each, code and checkpoint included.\n\n"
            + _memory(memory)
        ]
    if results["where"]:
        parts += ["## Where our time goes\n\n" + _where(results["where"])]
    if results["faults"]:
        parts += ["## Faults\n\n" + "\n".join(f"- {' '.join(fault.split())[:500]}" for fault in results["faults"])]
    return "\n\n".join(parts) + "\n"


def _speeds(rows: Sequence[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row["engines"]))
    lines = []
    for row in rows:
        best = min(row["engines"], key=lambda name: row["engines"][name]["median"])
        cells = [_speed(row, name, name == best) for name in names]
        told = [f"{ratio[0]:.2f}" if (ratio := lead(row, key)) else "-" for key in ("median", "least")]
        least, most = row["lengths"]
        texts = f"{row['tokens']:,} tokens in {row['steps']} step{'s' * (row['steps'] > 1)}, texts of {least} to {most}"
        padding = f"{row['padded'] / row['tokens'] - 1:.0%}"
        lines.append([f"{_called(row)}, {row['work']}", texts, padding, *cells, *told])
    return table(["", "a call", "padding", *names, "lead", "of the least"], lines)


def _speed(row: dict[str, Any], name: str, is_best: bool) -> str:
    found = row["engines"].get(name)
    if found is None:
        return "-"
    median, slow, fast = (f"{row['tokens'] / found[key]:,.0f}" for key in ("median", "p90", "p10"))
    return f"{f'**{median}**' if is_best else median} ({slow}-{fast})"


def _memory(rows: Sequence[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row["peak_mb"]))
    lines = []
    for row in rows:
        peaks = [row["peak_mb"].get(name) for name in names]
        lines.append([f"{_called(row)}, {row['work']}", *("-" if peak is None else f"{peak:,.0f}" for peak in peaks)])
    return table(["", *names], lines)


def _where(found: Sequence[dict[str, Any]]) -> str:
    """A row for what is computed; for each run its part of the time, and how near it comes to the roof."""
    lines = []
    for kind in found[0]["seconds"]:
        cells = []
        for one in found:
            seconds, operations = one["seconds"][kind], one["operations"][kind]
            roof = f"{operations / seconds / one['peak']:.0%} of peak" if operations and seconds else ""
            if kind == "norm and AdamW" and seconds:
                roof = f"{_TRAFFIC * one['parameters'] * one['steps'] / seconds / 1e9:.0f} GB/s"
            cells += [f"{seconds / one['wall']:.1%}", roof]
        lines.append([kind, *cells])
    rest = [(1 - sum(one["seconds"].values()) / one["wall"]) for one in found]
    lines.append(["Python, between calls", *(cell for part in rest for cell in (f"{part:.1%}", ""))])
    roofs = [f"{one['peak'] / 1e9:.0f} GFLOP/s, reads {one['memory'] / 1e9:.0f} GB/s" for one in found]
    lines.append(["the machine's roofs", *(cell for roof in roofs for cell in ("", roof))])
    header = [cell for one in found for cell in (_called(one), "")]
    text = (
        "Masked words of reviews and sentences, the pool of the first row of each; every operation is timed by itself, "
        "the threads meet after it. Peak is that of the same multiply-adds out of registers; AdamW's bytes are 36 a "
        "parameter."
    )
    return f"{text}\n\n{table(['', *header], lines)}"


def _called(row: dict[str, Any]) -> str:
    return f"{row['model']}, {row['threads']} thread{'s' * (row['threads'] > 1)}"
