"""Plots of a comparison: time per token by shape, and the engine's layers under the machine's roofs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

# Okabe and Ito's colours, which stay apart for colour-blind readers; ours is the strong one.
_COLOURS = {
    "minidistil": "#D55E00",
    "openvino": "#0072B2",
    "onnxruntime": "#009E73",
    "onnxruntime-fused": "#7FCBB3",
    "pytorch": "#999999",
}
_POINTS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999", "#8C564B")


def draw(results: dict[str, Any], out: Path) -> list[Path]:
    """Write the plots that the results have data for, as PNG and SVG; returns the PNG files."""
    _style()
    files = []
    rows = [r for r in results["rows"] if r["section"] in ("latency", "throughput") and r["engines"]]
    if rows:
        files.append(_save(_times(rows, results["machine"]["cpu"]), out / "engines.png"))
    if results.get("layers"):
        files.append(_save(_roofline(results["layers"], results["roofs"]), out / "roofline.png"))
    return files


def draw_huge(results: dict[str, Any], out: Path) -> Path:
    """Write the plot of `benchmarks.huge`: CPU time a token, and memory beside the results, by tokens of a call."""
    import matplotlib.pyplot as plt

    _style()
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    labels = {"encode": "encode", "file": "encode_to_file", "batch": "model(...), DistilBERT-base"}
    for (kind, label), colour in zip(labels.items(), _POINTS, strict=False):
        own = sorted((p for p in results["points"] if p["kind"] == kind), key=lambda p: p["tokens"])
        if not own:
            continue
        x, first = [p["tokens"] for p in own], own[0]["cpu"] / own[0]["tokens"]
        axes[0].plot(x, [p["cpu"] / p["tokens"] / first for p in own], "o-", color=colour, label=label)
        axes[1].plot(x, [p["beside_mb"] for p in own], "o-", color=colour)
    axes[0].set_title("CPU time a token, the smallest call's = 1", loc="left", fontsize=11)
    axes[1].set_title("Memory at most, beside the results (MB)", loc="left", fontsize=11)
    for axis in axes:
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_xlabel("tokens of the call")
        axis.grid(which="major", linewidth=0.4, alpha=0.6)
    axes[0].set_ylim(0, 2)
    axes[0].legend(frameon=False, loc="lower left")
    figure.suptitle(f"{results['machine']['cpu']}, {results['threads']} threads", fontsize=10)
    return _save(figure, out / "huge.png")


def _style() -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update(
        {"font.size": 10, "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}
    )


def _save(figure: Any, file: Path) -> Path:
    import matplotlib.pyplot as plt

    figure.savefig(file, dpi=150, bbox_inches="tight")
    figure.savefig(file.with_suffix(".svg"), bbox_inches="tight")
    plt.close(figure)
    return file


def _times(rows: list[dict[str, Any]], cpu: str) -> Any:
    """Time per token, so that one axis serves a sentence of 8 tokens and a batch of 4,096."""
    import matplotlib.pyplot as plt

    threads = sorted({row["threads"] for row in rows})
    figure, axes = plt.subplots(len(threads), 1, figsize=(10, 3.6 * len(threads)), squeeze=False, layout="constrained")
    for axis, count in zip(axes[:, 0], threads, strict=True):
        some = [row for row in rows if row["threads"] == count]
        names = [name for name in _COLOURS if any(name in row["engines"] for row in some)]
        width = 0.84 / len(names)
        # PyTorch on one short sentence would press all other bars to the ground: the axis ends above the others.
        others = [
            found for row in some for name, found in row["engines"].items() if name != "pytorch" or len(names) == 1
        ]
        tops = [
            found["p90"] / row["tokens"] * 1e6 for row in some for found in row["engines"].values() if found in others
        ]
        ceiling = max(tops) * 1.18
        for i, name in enumerate(names):
            for place, row in enumerate(some):
                found = row["engines"].get(name)
                if found is None:
                    continue
                x, scale = place + (i - (len(names) - 1) / 2) * width, 1e6 / row["tokens"]
                low, middle, high = (found[key] * scale for key in ("p10", "median", "p90"))
                axis.bar(
                    x, min(middle, ceiling), width * 0.94, color=_COLOURS[name], label=name if place == 0 else None
                )
                if middle <= ceiling:
                    spread = [[middle - low], [high - middle]]
                    axis.errorbar(x, middle, spread, color="#333333", linewidth=0.8, capsize=1.5)
                height = min(max(middle, high), ceiling)
                text = f"{found['median'] * 1e3:.3g}" if found["median"] < 1 else f"{found['median'] * 1e3:.0f}"
                axis.annotate(
                    text, (x, height), (0, 4), textcoords="offset points", ha="center", fontsize=7, rotation=90,
                    fontweight="bold" if name == "minidistil" else "normal",
                )  # fmt: skip
        axis.set_xticks(range(len(some)), [row["workload"].replace("x", " × ") for row in some])
        axis.set_ylim(0, ceiling * 1.15)
        axis.set_ylabel("µs per token")
        axis.set_title(f"{count} thread{'s' * (count > 1)}", loc="left")
        axis.grid(axis="y", linewidth=0.4, alpha=0.6)
        axis.set_axisbelow(True)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=len(labels), loc="outside lower center", frameon=False)
    figure.suptitle(
        f"DistilBERT-base, float32, batch × length: lower is better. On the bars: ms a call. {cpu}", fontsize=11
    )
    return figure


def _roofline(layers: list[dict[str, Any]], roofs: dict[str, Any]) -> Any:
    """GFLOP/s over operations per byte; only kernels that have products."""
    import matplotlib.pyplot as plt

    points = [point for point in layers if point["flops"]]
    intensity = np.geomspace(0.5, 300, 400)
    figure, axis = plt.subplots(figsize=(8.5, 5.4), layout="constrained")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(0.5, 300)
    axis.set_ylim(4, roofs["gflops"] * 1.4)
    # The first level's roof would lie above everything; the other two are close together: one label above, one below.
    sizes = sorted(((int(kb), rate) for kb, rate in roofs["caches"].items()), reverse=True)[:2]
    ceilings = [("memory", roofs["memory"], "-", 4)]
    ceilings += [(_size(kb), rate, ":", -12 if kb == sizes[0][0] else 4) for kb, rate in sizes]
    for label, rate, style, above in ceilings:
        axis.plot(intensity, np.minimum(intensity * rate, roofs["gflops"]), style, color="#555555", linewidth=1)
        axis.annotate(
            f"{label} {rate:.0f} GB/s", (0.52, 0.52 * rate), (0, above), textcoords="offset points", fontsize=8,
            rotation=45, rotation_mode="anchor", transform_rotates_text=True, color="#555555",
        )  # fmt: skip
    axis.annotate(
        f"fused multiply-add {roofs['gflops']:.0f} GFLOP/s", (300, roofs["gflops"]), (0, 4), textcoords="offset points",
        fontsize=8, ha="right", color="#555555",
    )  # fmt: skip
    kernels = list(dict.fromkeys(point["kernel"] for point in points))
    for kernel, colour in zip(kernels, _POINTS, strict=False):
        own = [point for point in points if point["kernel"] == kernel]
        x = [point["flops"] / point["bytes"] for point in own]
        y = [point["flops"] / point["median"] / 1e9 for point in own]
        sizes = [18 * (1 + np.log2(point["tokens"] / 4)) for point in own]
        axis.plot(x, y, color=colour, linewidth=0.7, alpha=0.6)
        axis.scatter(x, y, sizes, color=colour, label=kernel, zorder=3, edgecolor="white", linewidth=0.5)
    axis.set_xlabel("operations per byte that must be read or written")
    axis.set_ylabel("GFLOP/s, one core")
    tokens = sorted({point["tokens"] for point in points})
    axis.set_title(
        f"The engine's layers under the machine's roofs: {', '.join(map(str, tokens))} tokens, small to large",
        loc="left",
        fontsize=11,
    )
    handles: list[Any] = list(axis.legend(frameon=False, loc="lower right").legend_handles)
    for handle in handles:
        handle.set_sizes([40])
    axis.grid(which="major", linewidth=0.4, alpha=0.6)
    return figure


def _size(kilobytes: int) -> str:
    return f"{kilobytes // 1024} MB" if kilobytes >= 1024 else f"{kilobytes} KB"
