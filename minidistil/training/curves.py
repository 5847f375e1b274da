"""A picture of runs: the loss, what held-out data say, and the learning rate, step by step.

Needs matplotlib: pip install "minidistil[plots]". It is imported by the functions, not with this module.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidistil._loading import loading
from minidistil.training.one_run import RUN_FOLDER

KINDS = (".png", ".svg", ".pdf")
_TERMS = ("hard", "soft", "cosine")
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's, for every eye
_SMOOTH = 40  # parts of a run: over one of them losses are averaged


class Curves(NamedTuple):
    """What a log says: figures by name, each the steps and the values.

    name: of the run. steps: of all of it, also where it is not finished. training, held_out: by name.
    """

    name: str
    steps: int
    training: Mapping[str, tuple[np.ndarray, np.ndarray]]
    held_out: Mapping[str, tuple[np.ndarray, np.ndarray]]


def draw_curves(runs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], out: str | os.PathLike[str]) -> Path:
    """Draw one run or several into one picture.

    Args:
        runs: folders of results, or their logs; a run may still be going on.
        out: a .png, .svg or .pdf file.

    Returns:
        Its path.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: another kind of file, or a log that is none; says where.
        OSError: a log that is not there, or a picture that cannot be written.
    """
    path = Path(out)
    if path.suffix.lower() not in KINDS:
        raise ValueError(f"{path}: a picture is {', '.join(KINDS)}")
    paths = [runs] if isinstance(runs, (str, os.PathLike)) else list(runs)
    read = [read_curves(run) for run in paths]
    try:
        with loading():
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        hint = 'drawing needs matplotlib, which is not installed: pip install "minidistil[plots]"'
        raise ModuleNotFoundError(hint, name="matplotlib") from error
    judged = list(dict.fromkeys(name for run in read for name in run.held_out if name != "loss"))
    figure = Figure(figsize=(7.2, 2.6 * (2 + bool(judged))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2 + bool(judged), 1, sharex=True)
    _draw_loss(axes[0], read)
    if judged:
        _draw_held_out(axes[1], read, judged)
    for run, colour in zip(read, _colours(len(read)), strict=True):
        steps, rates = run.training["rate"]
        axes[-1].plot(steps, rates, color=colour, linewidth=1.2, label=run.name)
    axes[-1].set_ylabel("learning rate")
    axes[-1].ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    axes[-1].set_xlabel("step")
    axes[-1].set_xlim(0, 1.02 * max(run.steps for run in read))
    for one in axes:
        one.grid(color="#dddddd", linewidth=0.6)
        one.spines[["top", "right"]].set_visible(False)
    figure.suptitle(", ".join(run.name for run in read), fontsize=11)
    figure.savefig(path, dpi=150, metadata=_undated(path))
    return path


def read_curves(run: str | os.PathLike[str]) -> Curves:
    """Read the log of a run: a folder of a result, or the log itself. A last line that is not whole is left out.

    Raises:
        ValueError: a log that is none; says where.
        OSError: it is not there.
    """
    path = Path(run)
    log = path / RUN_FOLDER / "log.jsonl" if path.is_dir() else path
    if path.is_dir() and not log.exists():
        raise ValueError(f"{path}: has no {RUN_FOLDER}/log.jsonl, which training writes")
    steps, training, held_out = 0, dict[str, list[tuple[int, float]]](), dict[str, list[tuple[int, float]]]()
    text = log.read_bytes()
    for number, line in enumerate(text[: text.rfind(b"\n") + 1].splitlines(), 1):
        found = _parsed(line)
        if found is None or "step" not in found:
            raise ValueError(f"{log}:{number}: is no line of a run's log: an object with step is expected")
        steps = max(steps, int(found.get("steps", found["step"])))
        if "held_out" in found:
            for name, value in found["held_out"].items():
                held_out.setdefault(name, []).append((found["step"], value))
        elif "loss" in found:
            for name in ("loss", *_TERMS, "rate"):
                if name in found:
                    training.setdefault(name, []).append((found["step"], found[name]))
    if not training:
        raise ValueError(f"{log}: holds no steps yet")
    return Curves(_name(path), steps, _arrays(training), _arrays(held_out))


def smoothed(values: np.ndarray, parts: int = _SMOOTH) -> np.ndarray:
    """Return each value's mean with its neighbours on both sides, a `parts`-th of all of them together."""
    n = len(values)
    half = max(n // parts // 2, 0)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low, high = np.maximum(np.arange(n) - half, 0), np.minimum(np.arange(n) + half + 1, n)
    means: np.ndarray = (sums[high] - sums[low]) / (high - low)
    return means


def _draw_loss(axis: Any, read: Sequence[Curves]) -> None:
    """Of each step, pale, and smoothed; and of held-out data. The terms too, where there is one run of several."""
    for run, colour in zip(read, _colours(len(read)), strict=True):
        steps, losses = run.training["loss"]
        axis.plot(steps, losses, color=colour, alpha=0.25, linewidth=0.8)
        before = f"{run.name}: " if len(read) > 1 else ""
        axis.plot(steps, smoothed(losses), color=colour, linewidth=1.6, label=f"{before}training")
        terms = [name for name in _TERMS if name in run.training]
        if "loss" in run.held_out:
            judged, values = run.held_out["loss"]
            label = f"{before}held out{', hard' if len(terms) > 1 else ''}"
            axis.plot(judged, values, "o--", color=colour, markersize=4, linewidth=1, label=label)
        if len(read) == 1 and len(terms) > 1:
            for name, other in zip(terms, _COLOURS[1:], strict=False):
                axis.plot(steps, smoothed(run.training[name][1]), color=other, linewidth=1, label=name)
    axis.set_ylabel("loss")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=8, frameon=False)


def _draw_held_out(axis: Any, read: Sequence[Curves], names: Sequence[str]) -> None:
    styles = ("-", "--", ":", "-.")
    shares = [name for name in names if name != "perplexity"] or list(names)
    for run, colour in zip(read, _colours(len(read)), strict=True):
        for i, name in enumerate(shares):
            if name in run.held_out:
                steps, values = run.held_out[name]
                own = _COLOURS[i % len(_COLOURS)] if len(read) == 1 else colour
                label = name.replace("_", " ")
                axis.plot(
                    steps, values, styles[i % len(styles)], marker="o", markersize=4, color=own, linewidth=1.2,
                    label=label if len(read) == 1 else f"{run.name}: {label}",
                )  # fmt: skip
    axis.set_ylabel("held out")
    axis.legend(fontsize=8, frameon=False)


def _colours(count: int) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(count)]


def _arrays(points: Mapping[str, list[tuple[int, float]]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {
        name: (np.array([step for step, _ in some]), np.array([value for _, value in some], np.float64))
        for name, some in points.items()
    }


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _name(path: Path) -> str:
    """What a run is called: its folder."""
    inner = path.resolve()
    if inner.is_file():
        inner = inner.parent.parent if inner.parent.name == RUN_FOLDER else inner.with_suffix("")
    return inner.name


def _undated(path: Path) -> dict[str, Any]:
    """Metadata without the date, so that the same log gives the same picture."""
    return {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower(), {})
