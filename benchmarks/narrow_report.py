"""Results of a run in low precision as Markdown: engines are rows here, since there are so many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.report import DISTURBED, machine_lines, ms, table

OURS = ("minidistil-int8", "minidistil-int8-avx2")
_LEGEND = """\
DistilBERT-base, seeded weights. A cell is the median of calls that the engines took in turns, and the least; the
fastest is bold. The last columns say how many times as long as ours in int8 an engine took, for each shape, in medians
and in least values: below 1 we are **slower**. † other processes had the core for a part of the time, so that the whole
column is CPU time (one thread only)."""
_CLOSENESS = """\
Cosine of a token's state to float32's, 8x128: mean and least of 1,024. Seeded weights have no outliers, so this proves
that an engine computes the same model, and says little about a trained one. Alone: how many of eight sentences have the
same bytes alone as in a batch of eight, and else the least cosine between the two; once with 128 tokens each, so that
nobody pads, once with many lengths. MB: the file of the weights; what a fresh process held at most until its first
result (1x32), how much of that is private (not mapped from a file), and what it held at most after 8x128."""


def markdown(results: dict[str, Any]) -> str:
    """The whole report."""
    parts = ["\n".join(["# Engines in fewer bits", "", *machine_lines(results), "", _LEGEND])]
    if results.get("held_to_avx2"):
        parts.append("**Everyone on plain AVX2 code**: " + "; ".join(results["held_to_avx2"]) + ".")
    if results["quick"]:
        parts.append("A quick run: figures are rough.")
    for threads in dict.fromkeys(row["threads"] for row in results["rows"]):
        rows = [row for row in results["rows"] if row["threads"] == threads]
        parts.append(f"## {threads} thread{'s' * (threads > 1)} (ms)\n\n{_times(rows, results['missing'])}")
    if results.get("closeness") or results.get("memory"):
        parts.append(f"## Closeness, files and memory\n\n{_CLOSENESS}\n\n{_properties(results)}")
    if results.get("faults"):
        parts.append("## Faults\n\n" + "\n".join(f"- {' '.join(fault.split())[:500]}" for fault in results["faults"]))
    return "\n\n".join(parts) + "\n"


def ratios(rows: Sequence[dict[str, Any]], name: str, key: str) -> list[float | None]:
    """How many times as long as ours an engine took, for each row; None where either is missing."""
    found: list[float | None] = []
    for row in rows:
        ours = next((engine for engine in OURS if engine in row["engines"]), None)
        known = ours is not None and name in row["engines"]
        found.append(_seconds(row, name, key) / _seconds(row, str(ours), key) if known else None)
    return found


def _seconds(row: dict[str, Any], name: str, key: str) -> float:
    """The median or the least: of CPU time where others had the core, of wall time else."""
    of_cpu = {"median": "cpu", "least": "cpu_least"}
    return float(row["engines"][name][of_cpu[key] if _disturbed(row) else key])


def _disturbed(row: dict[str, Any]) -> bool:
    return row["threads"] == 1 and any(found["share"] < DISTURBED for found in row["engines"].values())


def _times(rows: Sequence[dict[str, Any]], missing: dict[str, str]) -> str:
    names = dict.fromkeys(name for row in rows for name in [*row["engines"], *row["wrong"]])
    lines = []
    for name in names:
        cells = [_cell(row, name) for row in rows]
        lines.append([name, *cells, *(_ratios(ratios(rows, name, key)) for key in ("median", "least"))])
    lines += [[name, reason, *[""] * (len(rows) + 1)] for name, reason in missing.items()]
    return table(["", *(row["workload"] for row in rows), "times ours", "of the least"], lines)


def _cell(row: dict[str, Any], name: str) -> str:
    if name not in row["engines"]:
        return "WRONG" if name in row["wrong"] else "-"
    median, least = (_seconds(row, name, key) for key in ("median", "least"))
    best = min(_seconds(row, other, "median") for other in row["engines"])
    mark = "†" if _disturbed(row) else ""
    return f"{f'**{ms(median)}**' if median == best else ms(median)}{mark} ({ms(least)})"


def _ratios(found: Sequence[float | None]) -> str:
    return " / ".join("-" if ratio is None else f"**{ratio:.2f}**" if ratio < 1 else f"{ratio:.2f}" for ratio in found)


def _properties(results: dict[str, Any]) -> str:
    close, memory, sizes = (results.get(key, {}) for key in ("closeness", "memory", "bytes"))
    lines = []
    for name in dict.fromkeys([*close, *memory]):
        found = close.get(name, {})
        near = found.get("float32")
        lines.append(
            [
                name,
                *([f"{near['mean']:.5f}", f"{near['least']:.5f}"] if near else ["-", "-"]),
                *(_alone(found.get(kind)) for kind in ("one length", "many lengths")),
                f"{sizes[name] / 1e6:.1f}" if name in sizes else "-",
                *(
                    f"{memory[name][key]:.0f}" if name in memory else "-"
                    for key in ("peak_mb", "private_mb", "peak_mb_8x128")
                ),
            ]
        )
    header = ["", "cosine", "least", "alone, one length", "alone, many lengths", "file, MB", "peak, MB", "private"]
    return table([*header, "peak after 8x128"], lines)


def _alone(found: dict[str, float] | None) -> str:
    if found is None:
        return "-"
    return f"{8 * found['equal']:.0f} of 8" + ("" if found["equal"] == 1 else f" ({found['least']:.5f})")
