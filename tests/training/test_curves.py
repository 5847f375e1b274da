"""The picture of a log: what is read, and that something is drawn."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from minidistil.training.curves import draw_curves, read_curves, smoothed


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with the log of a run of two epochs of three steps, which is at its fifth."""
    lines: list[dict] = [{"step": 0, "steps": 6, "bytes": {"weights": 4}}]
    for step in range(1, 6):
        lines.append(
            {"step": step, "epoch": 1, "loss": 1 / step, "hard": 0.5 / step, "soft": 0.25, "rate": 1e-5 * step}
        )
        if step == 3:
            lines.append({"step": 3, "epoch": 1, "held_out": {"accuracy": 0.75, "loss": 0.5, "macro_f1": 0.7}})
    (tmp_path / "result" / "training").mkdir(parents=True)
    log = tmp_path / "result" / "training" / "log.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 6, "lo')
    return tmp_path / "result"


def test_a_log_is_read(run: Path) -> None:
    for path in (run, str(run), run / "training" / "log.jsonl"):
        curves = read_curves(path)
        assert (curves.name, curves.steps) == ("result", 6)
        assert set(curves.training) == {"loss", "hard", "soft", "rate"}
        steps, values = curves.training["loss"]
        assert steps.tolist() == [1, 2, 3, 4, 5]
        assert values.tolist() == [1 / 1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]
        assert {name: (s.tolist(), v.tolist()) for name, (s, v) in curves.held_out.items()} == {
            "accuracy": ([3], [0.75]), "loss": ([3], [0.5]), "macro_f1": ([3], [0.7]),
        }  # fmt: skip


def test_smoothing_takes_both_sides() -> None:
    x = np.array([1.0, 2.0, 6.0, 3.0])
    assert smoothed(x, parts=2).tolist() == [1.5, 3.0, 11 / 3, 4.5]
    assert smoothed(x).tolist() == x.tolist()


@pytest.mark.parametrize("kind", [".png", ".svg", ".pdf"])
def test_a_picture_is_drawn_and_always_the_same(run: Path, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("matplotlib")
    first = draw_curves(run, tmp_path / f"one{kind}")
    beginning = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[kind]
    assert first.read_bytes().startswith(beginning)
    two = draw_curves([run, run / "training" / "log.jsonl"], tmp_path / f"two{kind}")
    assert two.read_bytes() != first.read_bytes()
    if kind != ".svg":  # whose names of parts are drawn by lot
        assert draw_curves(run, tmp_path / f"again{kind}").read_bytes() == first.read_bytes()


def test_what_is_wrong_is_said(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"a\.gif: a picture is \.png, \.svg, \.pdf"):
        draw_curves(run, tmp_path / "a.gif")
    with pytest.raises(ValueError, match=r"has no training/log\.jsonl"):
        read_curves(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_curves(tmp_path / "nothing.jsonl")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"step": 1, "loss": 2}\nhello\n')
    with pytest.raises(ValueError, match=r"bad\.jsonl:2: is no line of a run's log"):
        read_curves(bad)
    bad.write_text('{"step": 0, "steps": 3}\n')
    with pytest.raises(ValueError, match="holds no steps yet"):
        read_curves(bad)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "minidistil\[plots\]"'):
        draw_curves(run, tmp_path / "a.png")
