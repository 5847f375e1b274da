"""Whole runs on the engine have the reference's bytes: on any threads, in one go, or killed and gone on with."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

from minidistil.training import distill
from minidistil.training.journal import read_log
from tests import processes
from tests.training.conftest import BAD, GOOD

CALL: dict[str, Any] = {
    "held_out": GOOD[:3], "epochs": 3, "batch_sentences": 1, "micro_tokens": 5, "learning_rate": 1e-3, "max_length": 12,
    "checkpoint_seconds": 0.0,
}  # fmt: skip
STEPS = 30

_KILLED = """
import sys
sys.path.insert(0, sys.argv[4])
import pytest
from minidistil.training import distill
from tests.training.killing import Moments
from tests.training.test_engine_runs import BAD, CALL, GOOD
teacher, out, left = sys.argv[1:4]
moments = Moments(pytest.MonkeyPatch())
moments.left = int(left)
made = distill(GOOD + BAD, teacher=teacher, layers=[0], out=out, threads=2, **CALL)
print(made.resumed)
"""


@pytest.fixture(scope="module")
def by_reference(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All three terms of the loss, with dropout, masks and a teacher: 30 steps."""
    out = tmp_path_factory.mktemp("reference") / "out"
    assert distill(GOOD + BAD, teacher=teacher, layers=[0], out=out, backend="exact", **CALL).steps == STEPS
    return out


def same(a: Path, b: Path) -> None:
    assert (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()

    def lines(folder: Path) -> list[dict[str, Any]]:
        return [
            {name: value for name, value in line.items() if name not in ("seconds", "bytes")}
            for line in read_log(folder / "training" / "log.jsonl")
        ]

    assert lines(a) == lines(b)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_references_bytes(teacher: Path, tmp_path: Path, by_reference: Path, threads: int) -> None:
    distill(GOOD + BAD, teacher=teacher, layers=[0], out=tmp_path / "out", threads=threads, **CALL)
    same(tmp_path / "out", by_reference)


def test_killed_at_any_moment(teacher: Path, tmp_path: Path, by_reference: Path) -> None:
    """A process each, as an engine's threads do not live on in a forked child."""
    draw, kills, root = random.Random(2), 0, Path(__file__).resolve().parents[2]
    while True:
        command = [sys.executable, "-c", _KILLED, teacher, tmp_path / "out", str(draw.randrange(40, 220)), root]
        done = processes.run(command)
        if done.returncode == 0:
            break
        assert done.returncode < 0, done.stderr
        kills += 1
        assert kills < 30, "nothing is ever finished"
    assert kills > 0
    assert int(done.stdout) > 0
    same(tmp_path / "out", by_reference)
