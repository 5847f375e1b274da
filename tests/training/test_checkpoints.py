"""Checkpoints of a run: whole, checked when they are read, and the one before kept."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from minidistil.training.checkpoints import Checkpoints, Progress
from minidistil.training.folder import RunFolder
from minidistil.weights.errors import CheckpointError
from tests import processes
from tests.training.learner import TableLearner
from tests.training.loops import state


def filled(seed: int) -> TableLearner:
    learner, draw = TableLearner(50, 3), np.random.default_rng(seed)
    for name in ("values", "first", "second"):
        getattr(learner.parameters, name)[...] = draw.normal(size=150)
    return learner


def test_read_as_they_were_written(tmp_path: Path) -> None:
    told = Progress(7, 5, {"accuracy": 0.1}, 123, 4567, 8.25)
    Checkpoints(tmp_path, "run").write(filled(1), told)
    learner, read = TableLearner(50, 3), Checkpoints(tmp_path, "run")
    assert read.read(learner) == told
    assert read.last == 7
    assert state(learner) == state(filled(1))
    assert Checkpoints(tmp_path / "nothing", "run").read(learner) == Progress()


def test_the_one_before_is_taken_where_the_last_is_damaged(tmp_path: Path) -> None:
    made = Checkpoints(tmp_path, "run")
    for step in (1, 2, 3):
        made.write(filled(step), Progress(step))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "checkpoint.previous"]
    content = made.path.read_bytes()
    end = content.index(b"  ")  # what follows in the line is filling, which nobody reads
    for at in (*range(0, end, 5), *range(4096, len(content), 37)):
        made.path.write_bytes(content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :])
        learner = TableLearner(50, 3)
        assert made.read(learner).step == 2, f"byte {at}"
        assert state(learner) == state(filled(2))
    for damaged in (content[:-1], content + b"\0", content[:3000], b""):
        made.path.write_bytes(damaged)
        assert made.read(TableLearner(50, 3)).step == 2
    made.path.unlink()
    assert made.read(TableLearner(50, 3)).step == 2
    made.previous.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"cannot be gone on with: checkpoint\.previous is damaged .* restart=True"):
        made.read(TableLearner(50, 3))


def test_those_of_other_runs_and_models_are_not_read(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "run").write(filled(1), Progress(1))
    with pytest.raises(ValueError, match=r"is of another run or model \(circumstances\)"):
        Checkpoints(tmp_path, "other").read(filled(1))
    with pytest.raises(ValueError, match=r"is of another run or model \(places\)"):
        Checkpoints(tmp_path, "run").read(TableLearner(75, 2))


def test_a_full_disk_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Checkpoints(tmp_path, "run")
    made.write(filled(1), Progress(1))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        made.write(filled(2), Progress(2))
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]
    assert made.read(TableLearner(50, 3)).step == made.last == 1


def test_a_run_goes_on_as_it_was_begun_or_not_at_all(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        first = folder.agree({"seed": 1, "labels": ("a", "b"), "teacher": None}, restart=False)
        assert folder.begun
        assert folder.finished is None
        assert folder.agree({"labels": ["a", "b"], "teacher": None, "seed": 1}, restart=False) == first
        for name in ("checkpoint", "train.tokens", "log.jsonl"):
            (tmp_path / name).write_text("x")
        with pytest.raises(ValueError) as caught:
            folder.agree({"seed": 2, "labels": ["a", "b"], "teacher": "c"}, restart=False)
        message = str(caught.value)
        assert 'seed was 1 and is 2; teacher was unset and is "c". Call it as before to go on' in message
        assert "restart=True" in message
        assert folder.agree({"seed": 2}, restart=True) != first
        assert sorted(p.name for p in tmp_path.iterdir()) == ["lock", "run.json"]
        folder.finish({"steps": 3})
        assert folder.finished == {"steps": 3}
    (tmp_path / "run.json").write_text("{")
    with RunFolder(tmp_path) as folder, pytest.raises(CheckpointError, match="not valid JSON"):
        folder.agree({"seed": 2}, restart=False)


def test_one_process_trains_at_a_time(tmp_path: Path) -> None:
    with RunFolder(tmp_path):

        def other() -> bytes:
            try:
                RunFolder(tmp_path)
            except ValueError as error:
                return str(error).encode()
            return b"nothing was wrong"

        assert processes.forked(other) == f"{tmp_path}: another process is training there".encode()
    with RunFolder(tmp_path):
        pass
