"""Results as Markdown tables: every row, those that lose included and marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

OURS = "minidistil"
DISTURBED = 0.95  # of one core: less, and something else had it
_LEGEND = """\
DistilBERT-base in float32, seeded weights. A cell is the median of calls that the engines took in turns, with the least
and, after the semicolon, the 10th and 90th percentile; the fastest is bold. Lead is the fastest peer's median over
ours, and the last column the same of the least values: below 1 we are **slower**. † other processes had the core for a
part of the time; the ratio in brackets is of CPU time (one thread only)."""
_TITLES = {
    "latency": "Latency: one sentence at a time (ms)",
    "throughput": "Throughput: batches of one length (ms)",
    "mixed": "Mixed lengths (ms for all sentences)",
    "fill-mask": "Fill-mask, text to words, tokenizer included (ms)",
}


def markdown(results: dict[str, Any]) -> str:
    """The whole report."""
    parts = [_heading(results)]
    for section, title in _TITLES.items():
        rows = [row for row in results["rows"] if row["section"] == section]
        if rows:
            parts.append(f"## {title}\n\n{_times(rows)}")
    if results.get("cold"):
        parts.append(_cold(results["cold"]))
    if results.get("size"):
        parts.append(_size(results["size"]))
    if results.get("layers"):
        parts.append(_layers(results["layers"], results["roofs"]))
    if results.get("faults"):
        parts.append("## Faults\n\n" + "\n".join(f"- {' '.join(fault.split())[:500]}" for fault in results["faults"]))
    return "\n\n".join(parts) + "\n"


def lead(row: dict[str, Any], key: str = "median") -> tuple[float, str] | None:
    """How many times faster than the fastest peer, and which that is; None where either is missing."""
    ours = [name for name in row["engines"] if name.startswith(OURS)]
    peers = {name: found[key] for name, found in row["engines"].items() if name not in ours}
    if not ours or not peers:
        return None
    best = min(peers, key=peers.__getitem__)
    return peers[best] / row["engines"][ours[0]][key], best


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ms(seconds: float) -> str:
    """Milliseconds with the digits that mean something."""
    value = seconds * 1e3
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 20 else f"{value:.2f}"


def machine_lines(results: dict[str, Any]) -> list[str]:
    """When, on what machine, under which load and with what versions."""
    m, roofs = results["machine"], results.get("roofs")
    caches = ", ".join(f"{name} {size}" for name, size in m["caches"].items() if "instruction" not in name)
    peaks = ""
    if roofs:
        peaks = (
            f"Measured peaks: {roofs['gflops']:.0f} GFLOP/s and {roofs['memory']:.0f} GB/s on one core, "
            f"{roofs['gflops_all']:.0f} GFLOP/s and {roofs['memory_all']:.0f} GB/s on {roofs['threads']}. "
        )
    return [
        f"{results['created']}; {m['cpu']} (family, model {m['family_model']}{_llvm_name(m)}), "
        f"{m['cores_usable']} of {m['cores']} cores{', virtual' if m['hypervisor'] else ''}; "
        f"{', '.join(m['features'])}; {caches}; {m['system']}; "
        f"Python {m['python']}.",
        f"{peaks}Load average before and after: {results['load_before']:.2f}, {results['load_after']:.2f}.",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in sorted(results["versions"].items())) + ".",
    ]


def _heading(results: dict[str, Any]) -> str:
    lines = ["# Engines side by side", "", *machine_lines(results), "", _LEGEND]
    if results.get("held_to_avx2"):
        lines.append("\n**Everyone on plain AVX2 code**: " + "; ".join(results["held_to_avx2"]) + ".")
    if results["quick"]:
        lines.append("\nA quick run: figures are rough.")
    return "\n".join(lines)


def _llvm_name(m: dict[str, Any]) -> str:
    """What LLVM calls the CPU: vendors' names of virtual ones often say nothing."""
    return f"; {m['llvm_name']} to LLVM" if m.get("llvm_name") else ""


def _times(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in [*row["engines"], *row["wrong"]]))
    lines = []
    for row in rows:
        cells = [_cell(row, name) for name in names]
        least = lead(row, "least")
        lines.append(
            [
                f"{row['workload']}, {row['threads']} thread" + "s" * (row["threads"] > 1),
                *cells,
                _ratio(row),
                f"{least[0]:.2f}" if least else "-",
            ]
        )
    return table(["", *names, "lead", "of the least"], lines)


def _cell(row: dict[str, Any], name: str) -> str:
    if name in row["wrong"]:
        return "WRONG"
    found = row["engines"].get(name)
    if found is None:
        return "-"
    best = min(row["engines"].values(), key=lambda other: other["median"])
    median = ms(found["median"])
    mark = "†" if row["threads"] == 1 and found["share"] < DISTURBED else ""
    least, p10, p90 = (ms(found[key]) for key in ("least", "p10", "p90"))
    return f"{f'**{median}**' if found is best else median}{mark} ({least}; {p10}-{p90})"


def _ratio(row: dict[str, Any]) -> str:
    wall = lead(row)
    if wall is None:
        return "-"
    text = f"{wall[0]:.2f}" if wall[0] >= 1 else f"{wall[0]:.2f} **slower**"
    disturbed = row["threads"] == 1 and any(found["share"] < DISTURBED for found in row["engines"].values())
    cpu = lead(row, "cpu")
    return f"{text} ({cpu[0]:.2f})" if disturbed and cpu else text


def _cold(cold: dict[str, Any]) -> str:
    """Every figure is the median over fresh processes."""
    fields = ("import", "load", "first", "total", "process", "cpu")
    lines = []
    fastest = min(found["total"] for found in cold.values())
    for name, found in cold.items():
        seconds = [f"{found[field]:.2f}" for field in fields]
        if found["total"] == fastest:
            seconds[3] = f"**{seconds[3]}**"
        peaks = [f"{found[key]:.0f}" for key in ("peak_mb", "private_mb", "peak_mb_8x128")]
        lines.append([name, *seconds, *peaks])
    header = ["", "import", "load", "first result (1x32)", "sum", "with the interpreter's start", "CPU time"]
    header += ["peak memory, MB", "of it private after the result", "peak after 8x128"]
    return (
        "## Cold start and memory (s, MB)\n\nA fresh process, files and compiled code in the system's caches; medians "
        f"of {next(iter(cold.values()))['runs']}.\n\n" + table(header, lines)
    )


def _size(size: dict[str, dict[str, int]]) -> str:
    lines = []
    for name, parts in size.items():
        largest = sorted(parts, key=parts.__getitem__, reverse=True)[:4]
        told = ", ".join(f"{part} {parts[part] / 1e6:.0f}" for part in largest)
        lines.append([name, f"{sum(parts.values()) / 1e6:.0f}", str(len(parts)), told])
    return "## Installed size (MB)\n\nWith everything required, tokenizers included.\n\n" + table(
        ["", "MB", "distributions", "the largest"], lines
    )


def _layers(layers: list[dict[str, Any]], roofs: dict[str, Any]) -> str:
    lines = []
    for point in layers:
        rate, traffic = point["flops"] / point["median"] / 1e9, point["bytes"] / point["median"] / 1e9
        products = [f"{rate:.0f}", f"{rate / roofs['gflops']:.0%}"] if point["flops"] else ["", ""]
        lines.append(
            [
                f"{point['kernel']}, {point['tokens']} tokens",
                f"{point['median'] * 1e6:.0f}",
                *products,
                f"{traffic:.1f}",
            ]
        )
    header = ["", "µs", "GFLOP/s", "of peak", "GB/s"]
    return (
        "## The engine's own layers, one core\n\nMedian CPU time of a call; weights come from memory, activations are "
        "warm. GB/s count what must be read and written once.\n\n" + table(header, lines)
    )
